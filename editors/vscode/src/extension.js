// The VS Code extension: runs `velo lsp` for SQL, YAML, JSON and Markdown, and restarts it when `velo.path` changes.
// In: the settings `velo.*`. Out: a language client, or a message that says why there is none.
'use strict';
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { commands, window, workspace } = require('vscode');
const { CloseAction, LanguageClient } = require('vscode-languageclient/node');

const LANGUAGES = ['sql', 'yaml', 'json', 'jsonc', 'markdown'];
const SCHEMES = ['file', 'untitled'];

const OPEN_SETTING = 'Open Setting';
const INSTALL = 'How to Install';
const SHOW_LOG = 'Show Log';

// A client that reports nothing itself until it has started: `start` does that, with one message.
class Client extends LanguageClient {
  hasStarted = false;

  error(message, data, showNotification = true) {
    super.error(message, data, this.hasStarted && showNotification);
  }

  // Restarts a server that crashes, but not one that has never worked.
  createDefaultErrorHandler(maxRestartCount) {
    const usual = super.createDefaultErrorHandler(maxRestartCount);
    return {
      error: (...args) => usual.error(...args),
      closed: () => (this.hasStarted ? usual.closed() : { action: CloseAction.DoNotRestart }),
    };
  }
}

let client;
// Starts and stops run one after another: a client cannot be stopped while it starts.
let queue = Promise.resolve();

function activate(context) {
  const log = window.createOutputChannel('velo', { log: true });
  const restart = () => enqueue(() => stop().then(() => start(context, log)));
  context.subscriptions.push(
    log,
    commands.registerCommand('velo.restart', restart),
    commands.registerCommand('velo.showLog', () => log.show()),
    workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration('velo.path')) restart();
    }),
  );
  return restart();
}

function deactivate() {
  return enqueue(stop);
}

function enqueue(step) {
  queue = queue.catch(() => {}).then(step);
  return queue;
}

async function start(context, log) {
  const name = workspace.getConfiguration('velo').get('path')?.trim() || 'velo';
  const { id, packageJSON: { version } } = context.extension;
  const complain = (problem, ...buttons) => {
    log.error(problem);
    // The message stays until the user closes it; nothing waits for that.
    void ask(id, log, `velo: ${problem}`, buttons);
  };

  const program = find(name);
  if (!program) {
    complain(
      `the program '${name}' was not found. Install velo ${version} or newer, or set velo.path to its absolute path.`,
      INSTALL, OPEN_SETTING,
    );
    return;
  }
  const fault = await tryOut(program);
  if (fault) {
    complain(
      `'${program}' has no language server (${fault}). Install velo ${version} or newer, or change velo.path.`,
      INSTALL, OPEN_SETTING,
    );
    return;
  }

  client = new Client('velo', 'velo', { command: program, args: ['lsp'] }, {
    documentSelector: LANGUAGES.flatMap((language) => SCHEMES.map((scheme) => ({ scheme, language }))),
    outputChannel: log,
    // Without it, the client shows a message, whatever `error` does.
    initializationFailedHandler: () => false,
  });
  try {
    await client.start();
    client.hasStarted = true;
    log.info(`${program} ${client.initializeResult?.serverInfo?.version ?? ''} is running`);
  } catch (error) {
    complain(`'${program} lsp' failed to start: ${error.message}`, SHOW_LOG, OPEN_SETTING);
  }
}

async function stop() {
  const stopping = client;
  client = undefined;
  if (!stopping?.needsStop()) return;
  try {
    // A server that has crashed may be on its way back; only a client that runs can be stopped.
    await stopping.start();
    await stopping.dispose();
  } catch {
    // The client has logged it.
  }
}

// Returns the absolute path of a program, if there is one. The working folder is not searched, because its files may
// come from someone else.
function find(name) {
  const expanded = name.replace(/^~(?=[\\/])/, os.homedir());
  const isOnPath = path.basename(name) === name;
  const folders = isOnPath ? (process.env.PATH ?? '').split(path.delimiter) : [''];
  const endings = process.platform === 'win32' ? ['', '.exe'] : [''];
  const candidates = folders.flatMap((folder) => endings.map((ending) => path.join(folder, expanded + ending)));
  return candidates.find((candidate) => path.isAbsolute(candidate) && isProgram(candidate));
}

function isProgram(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

// Returns why a program does not know the command `lsp`, or nothing if it does.
function tryOut(program) {
  return new Promise((resolve) => {
    execFile(program, ['lsp', '--help'], { timeout: 10_000 }, (error, _, stderr) => {
      resolve(error ? stderr.trim().split('\n')[0] || error.message : undefined);
    });
  });
}

async function ask(id, log, message, buttons) {
  const chosen = await window.showErrorMessage(message, ...buttons);
  if (chosen === OPEN_SETTING) await commands.executeCommand('workbench.action.openSettings', 'velo.path');
  // The page of the extension shows its README.
  if (chosen === INSTALL) await commands.executeCommand('extension.open', id);
  if (chosen === SHOW_LOG) log.show();
}

module.exports = { activate, deactivate };

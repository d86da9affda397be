// `velo lsp` in Neovim, a client that nobody here wrote. The checks are in neovim.lua, which runs inside of it.
// In: $VELO, the program (the debug one in the target folder), and $NVIM_PROGRAM (nvim on PATH). Out: a test for each
// check.
'use strict';
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');

const root = path.join(__dirname, '../..');
const target = path.resolve(root, process.env.CARGO_TARGET_DIR || 'target');
const velo = path.resolve(root, process.env.VELO || path.join(target, 'debug/velo'));
const nvim = process.env.NVIM_PROGRAM || 'nvim';
const MINUTES = 60 * 1000;

// An environment with nothing of the user's editor in it.
function environment(home) {
  const own = Object.entries(process.env).filter(([name]) => !/^(N?VIM|MYVIMRC|XDG_)/.test(name));
  const folders = ['CONFIG', 'DATA', 'STATE', 'CACHE'].map((kind) => [`XDG_${kind}_HOME`, path.join(home, kind)]);
  for (const [, folder] of folders) fs.mkdirSync(folder);
  return {
    ...Object.fromEntries([...own, ...folders]),
    HOME: home, TMPDIR: home, XDG_RUNTIME_DIR: home, VELO: velo, RESULTS: path.join(home, 'results'),
  };
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

test('Neovim', async (t) => {
  assert.ok(fs.existsSync(velo), `${velo} is missing; build it with cargo build -p velo-cli`);
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'velo-neovim-'));
  t.after(() => fs.rmSync(home, { recursive: true, force: true }));
  const env = environment(home);
  const script = path.join(__dirname, 'neovim.lua').replace(/[ \\%#|"']/g, '\\$&');
  // The last command is only reached if the script has failed itself.
  const args = ['--headless', '--clean', '-n', '-c', `luafile ${script}`, '-c', 'cquit'];
  const stdio = ['ignore', 'pipe', 'pipe'];
  const run = spawnSync(nvim, args, { env, cwd: home, stdio, encoding: 'utf8', timeout: 10 * MINUTES });
  assert.ifError(run.error);
  const printed = run.stdout + run.stderr;
  const lines = fs.existsSync(env.RESULTS) ? fs.readFileSync(env.RESULTS, 'utf8').trim().split('\n') : [];
  const results = lines.filter(Boolean).map((line) => JSON.parse(line));

  for (const { name, skipped, failed } of results.filter((result) => result.name)) {
    await t.test(name, { skip: skipped }, () => assert.ok(!failed, failed));
  }
  await t.test('Neovim ends well, and no server is left', () => {
    assert.equal(run.status, 0, printed);
    const { pids } = results.at(-1);
    assert.ok(results.length > 10 && pids, printed);
    assert.deepEqual(pids.filter(isAlive), []);
  });
});

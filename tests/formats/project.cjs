// A project with what formats get wrong, and the findings that lint has in it.
'use strict';
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '../..');
const velo = path.resolve(root, process.env.VELO ?? 'target/debug/velo');

const BAD = `-- é 😀
CREATE STREAM s AS SELECT * FROM orders WITH ('batch.strategy' = 'fixed_size',
  /* 😀é */ 'batch.size' = '<0 & "1">', 'failure_strategi' = 'x', 'failure_strategy' = 'FailBatch');
`;

// The rule, the severity, the text that is marked, and what stands before it if the text is there twice.
const BAD_FINDINGS = [
  ['wrong-type', 'error', '<0 & "1">'],
  ['near-miss-key', 'error', 'failure_strategi'],
];

const FILES = {
  'a folder/ö/j "1" & <x> \'q\' 50%#?.sql': { text: BAD, findings: BAD_FINDINGS },
  'control \u0001\ttab\nline\u001b[31m.sql': { text: BAD, findings: BAD_FINDINGS },
  'crlf.sql': { text: `\ufeff${BAD.replaceAll('\n', '\r\n')}`, findings: BAD_FINDINGS },
  'cr.sql': { text: BAD.replaceAll('\n', '\r'), findings: BAD_FINDINGS },
  'doc.md': { text: `# é\n\n\`\`\`sql\n${BAD}\`\`\`\n`, findings: BAD_FINDINGS },
  'job.yaml': {
    text: '# 😀\nbatch.strategy: fixed_size\n? batch.size\n: -1\n"batch_size": 0 # é\nfailure_strategy: FailBach\n',
    findings: [
      ['out-of-range', 'error', '-1'],
      ['near-miss-key', 'warning', 'batch_size'],
      ['unknown-failure-strategy', 'error', 'FailBach'],
    ],
  },
  'messages.sql': {
    text: `CREATE STREAM s AS SELECT '😀' FROM o WITH ('max_retries' = '\u0001\u2028\ufffe]]>', 'batch.timeout' = '5'
 'failure_strategy' = 'FailBatch');`,
    findings: [
      ['retry-key-without-retries', 'warning', 'max_retries'],
      ['wrong-type', 'error', '\u0001\u2028\ufffe]]>'],
      ['duration-without-unit', 'error', '5', "= '"],
      ['missing-comma', 'error', '', "= '5'"],
    ],
  },
  'quiet.sql': {
    text: "CREATE STREAM s AS SELECT * FROM o WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '5');\n",
    findings: [
      ['default-failure-strategy', 'info', 'batch.strategy'],
      ['off-the-matrix', 'info', '5', "= '"],
    ],
  },
  'ok.sql': { text: 'SELECT 1;\n', findings: [] },
  'empty.sql': { text: '', findings: [] },
};

// A folder with these files that is gone at the end of the test.
function folder(test, files) {
  const made = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'formats-')));
  test.after(() => fs.rmSync(made, { recursive: true }));
  for (const [name, { text }] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(made, name)), { recursive: true });
    fs.writeFileSync(path.join(made, name), text);
  }
  return made;
}

// What lint prints in a folder.
function lint(folder, ...args) {
  const options = { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 28 };
  const { status, stdout, stderr } = spawnSync(velo, ['lint', ...args], options);
  if (![0, 1].includes(status)) throw new Error(`velo lint ${args.join(' ')}: ${status}\n${stderr}`);
  return stdout;
}

module.exports = { FILES, folder, lint, root };

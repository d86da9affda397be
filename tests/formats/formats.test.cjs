// The formats of lint, read by programs and schemas of others: every finding arrives with its file, place, severity
// and rule, whatever stands in names and texts.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const test = require('node:test');
const { fileURLToPath } = require('node:url');
const { FILES, folder, lint, root } = require('./project.cjs');
const { readers, ...others } = require('./readers.cjs');

const UNITS = {
  characters: (line) => [...line].length,
  utf16: (line) => line.length,
  bytes: (line) => Buffer.byteLength(line),
};
const SAME = { error: 'error', warning: 'warning', info: 'info' };
// How a format says things. XML cannot hold every character of a name.
const FORMATS = {
  sarif: { columns: UNITS.utf16, severity: { ...SAME, info: 'note' } },
  junit: { columns: UNITS.characters, severity: SAME, isXml: true },
  checkstyle: { columns: UNITS.characters, severity: SAME, isXml: true },
  gitlab: { severity: { error: 'major', warning: 'minor', info: 'info' } },
  rdjson: { columns: UNITS.bytes, severity: { error: 'ERROR', warning: 'WARNING', info: 'INFO' } },
};
const inXml = (name) => name.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd');

// The line, and what stands before the place in it.
function place(text, offset) {
  const lines = text.slice(0, offset).replace(/^\ufeff/, '').split(/\r\n|\n|\r/);
  return { line: lines.length, before: lines.at(-1) };
}

// Where the text stands that a finding marks, and that is there once behind what is before it.
function offsetOf(text, marked, behind = '') {
  const parts = text.split(behind + marked);
  assert.equal(parts.length, 2, `${behind}${marked}`);
  return parts[0].length + behind.length;
}

// A row as the reader of a format gives it; `marked` only where the reader looks at the source.
function row(format, { file, text, offset, marked, severity, rule, message }) {
  const { columns, severity: words, isXml } = FORMATS[format];
  const { line, before } = place(text, offset);
  return {
    file: isXml ? inXml(file) : file,
    line,
    ...(columns && { column: columns(before) + 1 }),
    severity: words[severity],
    rule,
    message,
    ...(format === 'sarif' && { marked }),
  };
}

const sorted = (rows) =>
  rows.map((row) => JSON.stringify(Object.entries(row).sort())).sort().map((row) => JSON.parse(row));
const places = (rows) => sorted(rows.map(({ message, ...row }) => row));

// What the files of the project must give in a format.
const known = (format) => Object.entries(FILES).flatMap(([file, { text, findings }]) =>
  findings.map(([rule, severity, marked, behind]) =>
    row(format, { file, text, offset: offsetOf(text, marked, behind), marked, severity, rule })));

// What a format must give, by what lint says as JSON.
function told(format, where) {
  return JSON.parse(lint(where, '--format', 'json')).map((finding) => {
    const bytes = fs.readFileSync(path.join(where, finding.file));
    const [text, before] = [bytes, bytes.subarray(0, finding.start.offset)].map((part) => part.toString());
    const marked = bytes.subarray(finding.start.offset, finding.end.offset).toString();
    return row(format, { ...finding, text, offset: before.length, marked });
  });
}

// What lint prints on stdout, which must be the same in a file.
function printed(format, where, ...args) {
  const stdout = lint(where, '--format', format, ...args);
  const file = path.join(where, '..', `${path.basename(where)}.${format}`);
  lint(where, '--format', 'concise', '--output', `${format}=${file}`, ...args);
  const written = fs.readFileSync(file, 'utf8');
  fs.rmSync(file);
  assert.equal(stdout, written);
  return stdout;
}

for (const [format, read] of Object.entries(readers)) {
  test(`${format}: every finding arrives, whatever is in names and texts`, async (test) => {
    const where = folder(test, FILES);
    const rows = await read(printed(format, where), where);
    assert.deepEqual(places(rows), places(known(format)));
    assert.deepEqual(sorted(rows), sorted(told(format, where)));
  });

  test(`${format}: every finding of all fixtures arrives`, async () => {
    const where = path.join(root, 'fixtures');
    const rows = await read(lint(where, '--format', format), where);
    assert.ok(rows.length > 500, `${rows.length} findings`);
    assert.deepEqual(sorted(rows), sorted(told(format, where)));
  });

  test(`${format}: of accepted findings nothing arrives, of a new one all`, async (test) => {
    const where = folder(test, FILES);
    lint(where, '--write-baseline', 'accepted');
    const args = ['--baseline', 'accepted'];
    assert.deepEqual(await read(printed(format, where, ...args), where), []);
    const marked = 'é<new>';
    const text = `\n\n${FILES['crlf.sql'].text.slice(1)}START JOB j AS SELECT * FROM s
      WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '${marked}', 'failure_strategy' = 'FailBatch');`;
    fs.writeFileSync(path.join(where, 'crlf.sql'), text);
    const rows = await read(printed(format, where, ...args), where);
    const what = { marked, severity: 'error', rule: 'wrong-type' };
    const added = row(format, { file: 'crlf.sql', text, offset: offsetOf(text, marked), ...what });
    assert.deepEqual(places(rows), places([added]));
  });

  test(`${format}: there may be no finding at all`, async (test) => {
    const where = folder(test, { 'ok.sql': FILES['ok.sql'] });
    assert.deepEqual(await read(printed(format, where), where), []);
  });
}

test('the readers do find faults', async (test) => {
  const where = folder(test, { 'job.yaml': FILES['job.yaml'] });
  const text = (format) => lint(where, '--format', format);
  const broken = {
    sarif: [
      ['sarifFaults', /"ruleIndex": \d+/g, '"ruleIndex": 999'],
      ['sarifFaults', /"version": "2.1.0"/, '"version": "2"'],
      ['sarifFaults', /"text":/, '"txet":'],
      ['sarifFaults', /"endLine": \d+/g, '"endLine": 1'],
    ],
    junit: [['junitFaults', /(?<=<testsuite [^>]*) tests="\d+"/, ''], ['junitFaults', /&apos;/, '\u0001']],
    gitlab: [
      ['gitlabFaults', /"major"/, '"bad"'],
      ['gitlabFaults', /"begin"/, '"start"'],
      ['gitlabFaults', /"fingerprint"/g, '"print"'],
    ],
    rdjson: [['rdjsonFaults', /"ERROR"/, '"error"'], ['rdjsonFaults', /"line": \d+/, '"line": 0']],
  };
  for (const [format, faults] of Object.entries(broken)) {
    for (const [find, what, instead] of faults) {
      const good = text(format);
      const bad = good.replace(what, instead);
      assert.notEqual(bad, good, `${format}: ${what}`);
      assert.notDeepEqual(await others[find](bad), [], `${format}: ${what}`);
    }
  }
  assert.throws(() => readers.checkstyle(text('checkstyle').replace('<error', '<'), where));
});

// The text with all replacements made, of which each is a place from and to, and a text. The last one goes first.
const replaced = (text, replacements) => [...replacements].sort((a, b) => b.from - a.from)
  .reduce((done, { from, to, instead }) => done.slice(0, from) + instead + done.slice(to), text);

// The offset of a line and column, both from 1, as the unit of a format counts.
function offsetAt(text, columns, { line, column }) {
  const starts = [0, ...[...text.matchAll(/\r\n|\n|\r/g)].map((end) => end.index + end[0].length)];
  let offset = starts[line - 1] + (line === 1 && text.startsWith('\ufeff') ? 1 : 0);
  let left = column - 1;
  for (const character of text.slice(offset)) {
    if (left <= 0) break;
    left -= columns(character);
    offset += character.length;
  }
  assert.equal(left, 0, 'within a character');
  return offset;
}

const FIXABLE = {
  'fix.sql': {
    text: `\ufeff-- 😀\r\nCREATE STREAM s AS SELECT '😀é', "é" FROM o WITH ('batch.timeout' = '5'
 /* é😀 */ 'failure_strategy' = 'FailBach', 'max_retires' = '3', 'batch.enable' = 'yes');\r-- é`,
  },
};

// The fixes that both formats with fixes suggest, as a list of replacements for each finding.
const FIXES = {
  sarif: (text, source) => JSON.parse(text).runs[0].results.map((result) => result.fixes.map((fix) => {
    const [{ artifactLocation, replacements }, ...more] = fix.artifactChanges;
    assert.deepEqual([artifactLocation.uri, more], ['fix.sql', []]);
    return replacements.map(({ deletedRegion: region, insertedContent }) => ({
      from: offsetAt(source, UNITS.utf16, { line: region.startLine, column: region.startColumn }),
      to: offsetAt(source, UNITS.utf16, { line: region.endLine, column: region.endColumn }),
      instead: insertedContent.text,
    }));
  })),
  rdjson: (text, source) => JSON.parse(text).diagnostics.map(({ suggestions = [] }) =>
    suggestions.map(({ range, text }) => [{
      from: offsetAt(source, UNITS.bytes, range.start),
      to: offsetAt(source, UNITS.bytes, range.end),
      instead: text,
    }])),
};

for (const [format, fixes] of Object.entries(FIXES)) {
  test(`${format}: its fixes make of a file what lint makes of it`, (test) => {
    const where = folder(test, FIXABLE);
    const { text } = FIXABLE['fix.sql'];
    const suggested = fixes(lint(where, '--format', format), text);
    const only = suggested.filter((ways) => ways.length === 1).map(([way]) => way);
    assert.ok(only.length > 2, JSON.stringify(suggested));
    lint(where, '--fix', '--unsafe-fixes', '--exit-zero');
    const fixed = fs.readFileSync(path.join(where, 'fix.sql'), 'utf8');
    assert.equal(replaced(text, only.flat()), fixed);
  });
}

test('sarif: addresses of files lead to them, wherever lint runs', (test) => {
  const where = folder(test, { ...FILES, 'inner/x.sql': FILES['ok.sql'] });
  const uris = (text, folder) => others.sarifLog(text, folder).runs[0].results
    .map((result) => fileURLToPath(result.locations[0].physicalLocation.artifactLocation.uri));
  const files = Object.keys(FILES).filter((name) => FILES[name].findings.length);
  const expected = files.map((name) => path.join(where, name)).sort();
  const inner = path.join(where, 'inner');
  for (const [folder, ...args] of [[where], [where, where], [inner, '..'], [inner, where]]) {
    const found = uris(lint(folder, '--format', 'sarif', ...args), folder);
    assert.deepEqual([...new Set(found)].sort(), expected, `${args}`);
  }
});

test('sarif: results agree with the list of rules, and have prints of their own; the unit of columns is named', () => {
  const [run] = JSON.parse(lint(path.join(root, 'fixtures'), '--format', 'sarif')).runs;
  const ids = run.tool.driver.rules.map((rule) => rule.id);
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(run.results.every((result) => ids[result.ruleIndex] === result.ruleId));
  assert.equal(run.columnKind, 'utf16CodeUnits');
  const prints = run.results.map((result) => Object.values(result.partialFingerprints).join());
  assert.equal(new Set(prints).size, prints.length);
});

test('gitlab: prints are unique, stay when lines move, and are those of sarif; paths are relative', (test) => {
  const fixtures = path.join(root, 'fixtures');
  const issues = JSON.parse(lint(fixtures, '--format', 'gitlab'));
  const prints = issues.map((issue) => issue.fingerprint);
  assert.equal(new Set(prints).size, prints.length);
  const [run] = JSON.parse(lint(fixtures, '--format', 'sarif')).runs;
  assert.deepEqual(prints, run.results.map((result) => result.partialFingerprints['veloLint/v1']));
  for (const { location, description } of issues) {
    assert.ok(!path.isAbsolute(location.path) && fs.existsSync(path.join(fixtures, location.path)), location.path);
    assert.ok(location.lines.begin <= location.lines.end);
    assert.ok(!description.includes('\n'), description);
  }

  const where = folder(test, FILES);
  const ours = () => JSON.parse(lint(where, '--format', 'gitlab')).map((issue) => issue.fingerprint).sort();
  const before = ours();
  for (const [name, { text }] of Object.entries(FILES).filter(([name]) => name.endsWith('.sql'))) {
    fs.writeFileSync(path.join(where, name), `-- moved\n\n${text.replace(/^\ufeff/, '')}`);
  }
  assert.deepEqual(ours(), before);
});

test('junit: counts are right, a file without findings is a passed test, names are unique', async (test) => {
  const where = folder(test, FILES);
  for (const folder of [where, path.join(root, 'fixtures')]) {
    const suites = await others.junitSuites(lint(folder, '--format', 'junit'));
    const count = (suites, of) => suites.flatMap((suite) => suite.testcase).filter(of).length;
    const failed = (test) => test.failure;
    for (const [counted, of] of [[suites, suites.testsuite], ...suites.testsuite.map((suite) => [suite, [suite]])]) {
      assert.deepEqual([Number(counted.tests), Number(counted.failures)], [count(of, () => true), count(of, failed)]);
    }
    const names = suites.testsuite.flatMap((suite) => suite.testcase).map((test) => `${test.classname}\n${test.name}`);
    assert.equal(new Set(names).size, names.length);
  }
  const suites = await others.junitSuites(lint(where, '--format', 'junit'));
  assert.deepEqual(suites.testsuite.map((suite) => suite.name).sort(), Object.keys(FILES).map(inXml).sort());
  const passed = suites.testsuite.filter((suite) => suite.failures === '0').map((suite) => suite.name);
  assert.deepEqual(passed, ['empty.sql', 'ok.sql']);
});

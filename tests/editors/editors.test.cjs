// What an editor makes of the committed JSON Schemas, in both drafts: no complaint about a good file,
// complaints where lint has errors, completion, hover and snippets.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const test = require('node:test');
const { root, schemaOf, yamlService, jsonService } = require('./services.cjs');

const DRAFTS = ['2020-12', '7'];

// Rules of lint that no schema can say; see lint/tests/lint/schema.rs.
const BEYOND = new Set([
  'min-above-max', 'blast-radius', 'zero-retries', 'retry-key-without-retries', 'inert-key',
  'unused-suppression', 'invalid-yaml',
]);

const read = (file) => fs.readFileSync(file, 'utf8').replace(/^\ufeff/, '');

function fixtures(language, verdict) {
  const folder = path.join(root, 'fixtures', language, verdict);
  const texts = fs.readdirSync(folder).filter((name) => /\.(ya?ml|json)$/.test(name));
  assert.ok(texts.length > 1, `${folder} is empty`);
  return texts.map((name) => ({ name, text: read(path.join(folder, name)), folder }));
}

// The lines, from 0, where lint reports something that a schema can say.
function expected({ name, text, folder }) {
  const beside = path.join(folder, name.replace(/\.json$/, '.expect'));
  const verdict = name.endsWith('.json') ? read(beside) : text;
  const lines = [...verdict.matchAll(/expect: ([a-z-]+) (\d+):\d+/g)];
  return lines.filter(([, rule]) => !BEYOND.has(rule)).map(([, , line]) => Number(line) - 1);
}

const said = (diagnostics) => diagnostics.map((d) => `${d.range.start.line + 1}: ${d.message}`).sort();
const labels = (items) => items.map((item) => item.label);
const text = (documentation) => (typeof documentation === 'string' ? documentation : documentation?.value ?? '');
const inserted = (item) => item.textEdit?.newText ?? item.insertText;
const count = (text, part) => text.split(part).length - 1;

function item(items, label) {
  const found = items.filter((item) => item.label === label);
  assert.equal(found.length, 1, `${label} is offered ${found.length} times among ${labels(items)}`);
  return found[0];
}

function agrees(language, service, draft, schema) {
  const ours = service(schema);
  const without = service({ $schema: schema.$schema });

  test(`${language}, draft ${draft}: no complaint about a good file of ours`, async () => {
    const good = fixtures(language, 'good').filter(({ name }) => name.startsWith('ours_'));
    for (const { name, text } of good) {
      assert.deepEqual(said(await ours.diagnostics(text)), [], name);
    }
  });

  test(`${language}, draft ${draft}: nothing is said about files of other systems`, async () => {
    for (const { name, text } of fixtures(language, 'good')) {
      // Some files break the server itself, whatever the schema.
      const of = (service) => service.diagnostics(text).then(said, (error) => error.name);
      assert.deepEqual(await of(ours), await of(without), name);
    }
  });

  test(`${language}, draft ${draft}: what lint reports is reported where it is`, async () => {
    let seen = 0;
    for (const fixture of fixtures(language, 'bad')) {
      const diagnostics = await ours.diagnostics(fixture.text);
      for (const line of expected(fixture)) {
        seen += 1;
        const there = diagnostics.some(({ range }) => range.start.line <= line && line <= range.end.line);
        assert.ok(there, `${fixture.name}:${line + 1} is not among ${said(diagnostics)}`);
      }
    }
    assert.ok(seen > 3, `only ${seen} findings`);
  });
}

for (const draft of DRAFTS) {
  const schema = schemaOf('yaml', draft);
  agrees('yaml', yamlService, draft, schema);
  agrees('json', jsonService, draft, schema);

  const yaml = yamlService(schema);
  const json = jsonService(schema);

  test(`yaml, draft ${draft}: keys are offered nested, once each, with their documentation`, async () => {
    const atRoot = await yaml.complete('|');
    for (const name of ['batch', 'failure_strategy', 'max_retries', 'dlq', 'transaction', 'source', 'sink']) {
      assert.notEqual(text(item(atRoot, name).documentation), '', name);
    }
    assert.equal(labels(atRoot).filter((label) => label.includes('.')).length, 0, labels(atRoot).join(' '));

    // A document that is surely ours is checked, too: that must not offer anything else.
    const beside = labels(await yaml.complete('failure_strategy: FailBatch\n|'));
    assert.deepEqual(beside.filter((label) => /[.]|failure_strategy/.test(label)), []);
    assert.equal(beside.filter((label) => label === 'batch').length, 1);

    for (const before of ['batch:\n  ', 'source:\n  batch:\n    ']) {
      const inBatch = await yaml.complete(`${before}|`);
      assert.match(text(item(inBatch, 'size').documentation), /Records per batch/);
      assert.equal(inBatch.filter(({ kind }) => kind === 10).length, 16, labels(inBatch).join(' '));
    }
    const below = await yaml.complete('batch:\n  strategy: fixed_size\n  |\nfailure_strategy: FailBatch\n');
    assert.match(text(item(below, 'size').documentation), /Records per batch/);
    assert.ok(!labels(below).includes('strategy'));
    assert.ok(!labels(await yaml.complete('source:\n  |')).includes('transaction'));
  });

  test(`yaml, draft ${draft}: values are offered, once each`, async () => {
    for (const rest of ['', '\nfailure_strategy: FailBatch\n']) {
      const strategies = await yaml.complete(`batch:\n  strategy: |${rest}`);
      for (const word of ['fixed_size', 'time_window', 'memory_based', 'adaptive_size', 'low_latency', 'mega_batch']) {
        assert.equal(inserted(item(strategies, word)).trim(), word);
      }
      assert.match(text(item(strategies, 'fixed_size').documentation), /fixed number of records/);
      const switches = await yaml.complete(`batch:\n  enable: |${rest}`);
      assert.equal(inserted(item(switches, 'false')).trim(), 'false');
      assert.equal(inserted(item(await yaml.complete(`batch:\n  size: |${rest}`), '500')).trim(), '500');
    }
    const failures = labels(await yaml.complete('failure_strategy: |'));
    assert.deepEqual(failures.sort(), ['FailBatch', 'LogAndContinue', 'RetryWithBackoff', 'SendToDLQ']);
  });

  test(`yaml, draft ${draft}: a snippet is a complete set of settings`, async () => {
    const snippet = item(await yaml.complete('|'), 'mega_batch');
    assert.match(inserted(snippet), /^batch:\n +strategy: mega_batch\n +mega_batch_size: 50000\n/);
    assert.match(inserted(snippet), /\nfailure_strategy: SendToDLQ/);
    assert.deepEqual(said(await yaml.diagnostics(inserted(snippet))), []);
  });

  test(`yaml, draft ${draft}: hover shows a key's title once, its page, and YAML`, async () => {
    const places = [
      ['batch:\n  si|ze: 500\n', 'batch.size'],
      ['batch:\n  size: 5|00\nfailure_strategy: FailBatch\n', 'batch.size'],
      ['batch.si|ze: 500\nfailure_strategy: FailBatch\n', 'batch.size'],
      ['source:\n  batch:\n    win|dow: 5s\n    strategy: time_window\n', 'batch.window'],
      ['batch:\n  en|able: false\n', 'batch.enable'],
      ['batch:\n  strat|egy: fixed_size\n', 'batch.strategy'],
      ['failure_strat|egy: FailBatch\n', 'failure_strategy'],
      ['failure_strategy: RetryWithBackoff\nmax_ret|ries: 5\n', 'max_retries'],
      ['dlq:\n  to|pic: a.dlq\nfailure_strategy: SendToDLQ\n', 'dlq.topic'],
    ];
    for (const [place, title] of places) {
      const shown = await yaml.hover(place);
      const escaped = title.replaceAll('_', '\\_');
      assert.ok(shown.startsWith(`#### ${escaped}\n`), `${place}: ${shown}`);
      assert.equal(count(shown, escaped), 1, `${place}: ${shown}`);
      assert.match(shown, /\*\*takes\*\*/, place);
      assert.match(shown, /```yaml\n/, place);
      assert.doesNotMatch(shown, /' = '/, place);
    }
    const value = await yaml.hover('batch:\n  strategy: fixed|_size\nfailure_strategy: FailBatch\n');
    assert.match(value, /A batch is full at a fixed number of records/);
    assert.match(await yaml.hover('sou|rce:\n  failure_strategy: FailBatch\n'), /inherits/);
  });

  test(`yaml, draft ${draft}: merges and aliases are read as YAML means them`, async () => {
    const base = 'x-a: &a {strategy: fixed_size}\nx-b: &b {size: 500, strategy: turbo}\n';
    const merged = `${base}batch:\n  <<: [*a, *b]\nfailure_strategy: FailBatch\n`;
    assert.deepEqual(said(await yaml.diagnostics(merged)), []);
    const wrong = `x-b: &b {size: 500, strategy: turbo}\nbatch:\n  <<: *b\nfailure_strategy: FailBatch\n`;
    assert.equal((await yaml.diagnostics(wrong)).length, 1);
  });

  test(`yaml, draft ${draft}: complaints say what is wrong`, async () => {
    const complaints = async (text) => said(await yaml.diagnostics(`${text}failure_strategy: FailBatch\n`)).join('; ');
    assert.match(await complaints('batch: {sise: 4}\n'), /sise is not allowed/);
    assert.match(await complaints('batch.sise: 4\n'), /batch\.sise is not allowed/);
    assert.match(await complaints('max_retrys: 4\n'), /Nearly the name of a setting/);
    assert.match(await complaints('batch: {window: 5s}\n'), /Missing property "batch\.strategy"/);
    assert.match(await complaints('batch: {timeout: 1000}\n'), /Expected "string"/);
    assert.match(await complaints('batch.timeout: 900 parsecs\n'), /a number and a unit/);
    assert.match(await complaints('batch: {size: many}\n'), /a whole number of records/);
    assert.match(await complaints('batch: {strategy: turbo}\n'), /"fixed_size"/);
    assert.match(await complaints('batch: {strategy: fixed_size, window: 5s}\n'), /no effect under fixed_size/);
  });

  test(`json, draft ${draft}: keys, values, snippets and hover`, async () => {
    const atRoot = await json.complete('{|}');
    assert.notEqual(text(item(atRoot, 'batch').documentation), '');
    assert.equal(labels(atRoot).filter((label) => label.includes('.')).length, 0, labels(atRoot).join(' '));
    const beside = labels(await json.complete('{"failure_strategy": "FailBatch", |}'));
    assert.deepEqual(beside.filter((label) => label.includes('.')), []);
    const inBatch = await json.complete('{"batch": {|}, "failure_strategy": "FailBatch"}');
    assert.match(text(item(inBatch, 'size').documentation), /Records per batch/);
    const strategies = await json.complete('{"batch": {"strategy": |}, "failure_strategy": "FailBatch"}');
    // In quotes it is offered as the default.
    assert.match(text(item(strategies, 'fixed_size').documentation), /fixed number of records/);
    assert.match(inserted(item(await json.complete('|'), 'low_latency')), /"low_latency_max_size": 5/);
    const shown = await json.hover('{"batch": {"si|ze": 500}, "failure_strategy": "FailBatch"}');
    assert.equal(count(shown, 'batch\\.size'), 1, shown);
    assert.match(shown, /\*\*takes\*\*/);
    assert.match(shown, /```yaml\n/);
  });

  test(`json, draft ${draft}: a clause as an object`, async () => {
    const clause = jsonService(schemaOf('with', draft));
    const good = '{"batch.strategy": "fixed_size", "batch.size": "500", "topic": "t", "sink.max_retries": "3", '
      + '"sink.failure_strategy": "RetryWithBackoff"}';
    assert.deepEqual(said(await clause.diagnostics(good)), []);
    for (const bad of ['{"batch.sise": "5"}', '{"batch.size": "0"}', '{"sink.max_retries": "3"}']) {
      assert.equal((await clause.diagnostics(bad)).length, 1, bad);
    }
    assert.match(text(item(await clause.complete('{|}'), 'sink.batch.size').documentation), /Records per batch/);
    assert.match(await clause.hover('{"batch.si|ze": "500"}'), /'batch\.size' = '500'/);
  });
}

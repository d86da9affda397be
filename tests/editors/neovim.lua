-- Neovim as an editor of `velo lsp`; see neovim.test.cjs, which starts it.
-- In: $VELO, the program; $RESULTS, a file. Out: in that file one line of JSON for each check: its name, and what went
-- wrong or why it was left out; last a line with the process ids of all servers.

local uv = vim.uv or vim.loop
local PATIENCE = 30000 -- milliseconds; enough for a busy machine, and never waited for if all is well.

local checks, pids = {}, {}

local function check(name, body)
  table.insert(checks, { name = name, body = body })
end

-- Ends the check that is under way without a verdict.
local function leave_out(why)
  error({ skipped = why }, 0)
end

local function equal(actual, expected, what)
  if not vim.deep_equal(actual, expected) then
    error(('%s\nexpected: %s\nactual:   %s'):format(what or '', vim.inspect(expected), vim.inspect(actual)), 2)
  end
end

local function wait(what, condition)
  if not vim.wait(PATIENCE, condition, 5) then
    error('waited in vain: ' .. what, 2)
  end
end

-- Files and buffers -------------------------------------------------------------------------------

local function write(path, text)
  local file = assert(io.open(path, 'wb'))
  file:write(text)
  file:close()
end

-- A folder whose name has to be encoded in URIs.
local function project(files)
  local folder = vim.fn.tempname() .. ' é%20冰'
  vim.fn.mkdir(folder, 'p')
  for name, text in pairs(files) do
    write(folder .. '/' .. name, text)
  end
  return folder
end

local function edit(path)
  vim.cmd('edit ' .. vim.fn.fnameescape(path))
  return vim.api.nvim_get_current_buf()
end

local function lines(buffer)
  return vim.api.nvim_buf_get_lines(buffer, 0, -1, true)
end

local function text(buffer)
  return table.concat(lines(buffer), '\n') .. '\n'
end

-- The line and the byte of the first place of some text, from 0, `inside` bytes behind its start.
local function find(buffer, part, inside)
  for row, line in ipairs(lines(buffer)) do
    local start = line:find(part, 1, true)
    if start then
      return row - 1, start - 1 + (inside or 0)
    end
  end
  error(part .. ' is not in the buffer', 2)
end

local function replace(buffer, old, new)
  local row, column = find(buffer, old)
  vim.api.nvim_buf_set_text(buffer, row, column, row, column + #old, vim.split(new, '\n'))
end

-- Servers -----------------------------------------------------------------------------------------

-- Starts a server for a folder. What it says besides diagnostics is collected in `said`.
local function start(folder)
  local server = { said = {} }
  local function say(_, result)
    table.insert(server.said, result.message)
  end
  local config = {
    name = 'velo',
    cmd = { vim.env.VELO, 'lsp' },
    root_dir = folder,
    handlers = { ['window/showMessage'] = say, ['window/logMessage'] = say },
    on_error = function(code, failure)
      table.insert(server.said, { code = code, failure = failure })
    end,
    on_exit = function(code, signal)
      server.code, server.signal = code, signal
    end,
  }
  if vim.fn.has('nvim-0.11') == 1 then
    server.id = vim.lsp.start(config, { attach = false })
  else
    server.id = vim.lsp.start_client(config)
  end
  assert(server.id, 'no server')
  server.client = vim.lsp.get_client_by_id(server.id)
  local rpc = server.client.rpc
  server.pid = rpc.pid
  table.insert(pids, rpc.pid)
  wait('the answer to initialize', function()
    return server.client.initialized or server.code
  end)
  equal(server.code, nil, 'the server has ended')
  return server
end

-- Opens a file of a folder and shows it to the server.
local function open(server, folder, name)
  local buffer = edit(folder .. '/' .. name)
  assert(vim.lsp.buf_attach_client(buffer, server.id), 'not attached')
  return buffer
end

-- Asks the server; Neovim tells it all changes first.
local function ask(server, buffer, method, params)
  local answers, failure = vim.lsp.buf_request_sync(buffer, method, params, PATIENCE)
  assert(answers, failure)
  local answer = assert(answers[server.id], method .. ' is not answered')
  local failed = answer.error or answer.err
  assert(not failed, method .. ': ' .. vim.inspect(failed))
  return answer.result
end

-- The parameters for a place in a buffer, converted by Neovim to what the server counts in.
local function place(server, buffer, row, column)
  vim.api.nvim_set_current_buf(buffer)
  vim.api.nvim_win_set_cursor(0, { row + 1, column })
  return vim.lsp.util.make_position_params(0, server.client.offset_encoding)
end

local function document(buffer)
  return { uri = vim.uri_from_bufnr(buffer) }
end

local function whole(buffer)
  return { start = { line = 0, character = 0 }, ['end'] = { line = #lines(buffer), character = 0 } }
end

local function stop(server)
  vim.lsp.stop_client(server.id)
  wait('the end of the server', function()
    return server.code
  end)
  equal({ server.code, server.signal }, { 0, 0 }, 'exit code and signal')
  equal(server.said, {}, 'messages of the server')
  if server.pid then
    equal((uv.kill(server.pid, 0)), nil, 'the process is there')
  end
end

-- Diagnostics -------------------------------------------------------------------------------------

-- Diagnostics as Neovim shows them: `line:byte-line:byte severity code`, from 0.
local function shown(buffer)
  local found = {}
  for _, diagnostic in ipairs(vim.diagnostic.get(buffer)) do
    local sent = diagnostic.user_data and diagnostic.user_data.lsp or {}
    local severity = vim.diagnostic.severity[diagnostic.severity]
    local code = diagnostic.code or sent.code
    local place = '%d:%d-%d:%d %s %s'
    local d = diagnostic
    table.insert(found, (place):format(d.lnum, d.col, d.end_lnum, d.end_col, severity, code))
  end
  table.sort(found)
  return found
end

-- Waits until exactly these diagnostics are shown. Each is `{ text, severity, code }` with the text that it marks.
local function marks(buffer, expected)
  local wanted = {}
  for _, mark in ipairs(expected) do
    local row, column = find(buffer, mark[1])
    local place = '%d:%d-%d:%d %s %s'
    table.insert(wanted, (place):format(row, column, row, column + #mark[1], mark[2], mark[3]))
  end
  table.sort(wanted)
  local as_wanted = vim.wait(PATIENCE, function()
    return vim.deep_equal(shown(buffer), wanted)
  end, 5)
  if not as_wanted then
    equal(shown(buffer), wanted, 'diagnostics')
  end
end

local SQL = [[
-- Fährt 🚲 durch 冰
CREATE STREAM s AS SELECT * FROM orders WITH (
  /* é 🚲 */ 'batch.strategy' = 'FixedSize', -- 🧊
  'batch.size' = '0', 'failure_strategy' = 'FailBatch'
);
]]
local SPELLING = { 'FixedSize', 'WARN', 'non-canonical-spelling' }
local RANGE = { '0', 'ERROR', 'out-of-range' }

check('diagnostics stand behind multi-byte text where they belong', function()
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = SQL })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')
  equal(vim.bo[buffer].filetype, 'sql')
  marks(buffer, { SPELLING, RANGE })
  -- In bytes, counted by hand.
  equal(shown(buffer), { '2:36-2:45 WARN non-canonical-spelling', '3:18-3:19 ERROR out-of-range' })
  for _, diagnostic in ipairs(vim.diagnostic.get(buffer)) do
    equal(diagnostic.source, 'velo')
    local said = diagnostic.lnum == 2 and "the canonical spelling of 'FixedSize' is 'fixed_size'"
      or "'0' is out of range: 'batch.size' takes 1 to 2147483647"
    equal(diagnostic.message, said)
  end
  stop(server)
end)

check('diagnostics follow edits, undo and redo', function()
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = SQL })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')
  marks(buffer, { SPELLING, RANGE })
  local function undo(command)
    vim.api.nvim_buf_call(buffer, function()
      vim.cmd('silent ' .. command)
    end)
  end
  local function step()
    -- Ends the undo step, as leaving insert mode does.
    undo('let &undolevels = &undolevels')
  end

  step()
  replace(buffer, 'é 🚲', 'é 🚲🚲 ß 冰')
  marks(buffer, { SPELLING, RANGE })
  step()
  replace(buffer, "'batch.size' = '0'", "'batch.size' = '500'")
  marks(buffer, { SPELLING })
  step()
  vim.api.nvim_buf_set_lines(buffer, 0, 1, true, { '-- 🚲', '/* drei', 'Zeilen */' })
  marks(buffer, { SPELLING })
  step()
  -- Two lines become one.
  replace(buffer, 'drei', 'drei ß')
  undo('2,3join')
  marks(buffer, { SPELLING })
  step()
  replace(buffer, 'FixedSize', 'fixed_size')
  marks(buffer, {})
  undo('undo')
  marks(buffer, { SPELLING })
  undo('undo 0')
  equal(text(buffer), SQL)
  marks(buffer, { SPELLING, RANGE })
  undo('redo')
  undo('redo')
  marks(buffer, { SPELLING })
  vim.api.nvim_buf_set_lines(buffer, 0, -1, true, {})
  marks(buffer, {})
  undo('undo')
  marks(buffer, { SPELLING })

  -- What is not saved counts; then it is read from disk again.
  undo('edit!')
  -- Neovim has closed the text and opens it when the file type is set, which a configuration reacts to.
  vim.lsp.buf_attach_client(buffer, server.id)
  marks(buffer, { SPELLING, RANGE })
  replace(buffer, "'0'", "'500'")
  undo('write')
  marks(buffer, { SPELLING })
  vim.api.nvim_buf_delete(buffer, { force = true })
  marks(open(server, folder, 'a.sql'), { SPELLING })
  stop(server)
end)

check('after any edits the server has the text of the buffer', function()
  -- The outline has the value of a setting, which may be of many lines.
  local before, behind = "'dlq.topic' = '", "', 'failure_strategy'"
  local value = 'é\n🚲🚲\n\n冰 ß\n\n'
  local sql = SQL:gsub("'batch.size' = '0', 'failure_strategy'", before .. value .. behind)
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = sql })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')
  local function value_of_server()
    local symbols = ask(server, buffer, 'textDocument/documentSymbol', { textDocument = document(buffer) })
    for _, child in ipairs(symbols[1].children) do
      if child.name == 'dlq.topic' then
        return child.detail
      end
    end
    error('no dlq.topic')
  end
  local function value_of_buffer()
    local all = text(buffer)
    local _, start = all:find(before, 1, true)
    return all:sub(start + 1, all:find(behind, start, true) - 1)
  end

  local pieces = { 'a', 'é', '🚲', '冰', ' ', '\n', '\n\n', '🚲\né', 'e\204\129', 'a\n🧊\nß' }
  math.randomseed(11)
  for round = 1, 150 do
    if round % 7 == 0 then
      vim.api.nvim_buf_call(buffer, function()
        vim.cmd('silent undo')
      end)
    else
      -- Two places in the value, between characters; often the same one.
      local first, first_column = find(buffer, before, #before)
      local last, last_column = find(buffer, behind)
      local function somewhere(from)
        local row = math.random(from, math.min(last, from + 2))
        local line = lines(buffer)[row + 1]
        local column = vim.fn.byteidx(line, math.random(0, vim.fn.strchars(line, 1)))
        column = row == first and math.max(column, first_column) or column
        return row, row == last and math.min(column, last_column) or column
      end
      local row, column = somewhere(math.random(first, last))
      local end_row, end_column = row, column
      if round % 3 == 0 then
        end_row, end_column = somewhere(row)
        if end_row == row and end_column < column then
          column, end_column = end_column, column
        end
      end
      local piece = pieces[math.random(#pieces)]
      vim.api.nvim_buf_set_text(buffer, row, column, end_row, end_column, vim.split(piece, '\n'))
    end
    equal(value_of_server(), value_of_buffer(), 'value in round ' .. round)
  end
  stop(server)
end)

-- What the command line finds in a file, as `shown` has it but without the ends.
local function found_by_command_line(path)
  local command = { 'sh', '-c', '"$0" lint --format json "$1" 2> /dev/null', vim.env.VELO, path }
  local severities = { error = 'ERROR', warning = 'WARN', info = 'INFO' }
  local file = assert(io.open(path, 'rb'))
  local content = file:read('*a')
  file:close()
  local found = {}
  for _, finding in ipairs(vim.fn.json_decode(vim.fn.system(command))) do
    local before = content:sub(1, finding.start.offset)
    local _, row = before:gsub('\n', '')
    local column = #before:match('[^\n]*$')
    table.insert(found, ('%d:%d %s %s'):format(row, column, severities[finding.severity], finding.rule))
  end
  table.sort(found)
  return found
end

check('after any edits the diagnostics are what the command line finds', function()
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = SQL .. SQL:gsub('STREAM s', 'STREAM t') })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')
  local pieces = { 'é', '🚲', '\n', "'", ',', '(', ');\n', '/*', '*/', '--', "'batch.sise' = '5',", '\n🧊 ' }
  math.randomseed(7)
  for round = 1, 90 do
    if round % 5 == 0 then
      vim.api.nvim_buf_call(buffer, function()
        vim.cmd('silent undo')
      end)
    else
      local row = math.random(0, #lines(buffer) - 1)
      local line = lines(buffer)[row + 1]
      local length = vim.fn.strchars(line, 1)
      local start_at = math.random(0, length)
      local end_at = round % 3 == 0 and math.min(length, start_at + math.random(0, 3)) or start_at
      local piece = round % 4 == 0 and '' or pieces[math.random(#pieces)]
      local first, last = vim.fn.byteidx(line, start_at), vim.fn.byteidx(line, end_at)
      vim.api.nvim_buf_set_text(buffer, row, first, row, last, vim.split(piece, '\n'))
    end
    if round % 3 == 0 then
      vim.api.nvim_buf_call(buffer, function()
        vim.cmd('silent write')
      end)
      local expected = found_by_command_line(folder .. '/a.sql')
      local function starts()
        local found = {}
        for index, mark in ipairs(shown(buffer)) do
          found[index] = mark:gsub('%-%d+:%d+', '', 1)
        end
        table.sort(found)
        return found
      end
      local agree = vim.wait(PATIENCE, function()
        return vim.deep_equal(starts(), expected)
      end, 5)
      if not agree then
        equal(starts(), expected, ('diagnostics in round %d of\n%s'):format(round, text(buffer)))
      end
    end
  end
  stop(server)
end)

check('lines may end in other ways', function()
  local dos = SQL:gsub('\n', '\r\n')
  local folder = project({
    ['velo.toml'] = '',
    ['dos.sql'] = dos,
    ['bom.sql'] = '\239\187\191' .. SQL,
    ['open.sql'] = (SQL:gsub('\n$', '')),
  })
  local server = start(folder)
  for _, name in ipairs({ 'dos.sql', 'bom.sql', 'open.sql' }) do
    local buffer = open(server, folder, name)
    equal(vim.bo[buffer].fileformat, name == 'dos.sql' and 'dos' or 'unix')
    marks(buffer, { SPELLING, RANGE })
    vim.api.nvim_buf_set_lines(buffer, 0, 1, true, { '-- 🚲', '', '-- ß' })
    replace(buffer, 'é 🚲', 'é 🚲🚲 ß 冰')
    marks(buffer, { SPELLING, RANGE })
    replace(buffer, "'0'", "'500'")
    vim.api.nvim_buf_set_lines(buffer, -1, -1, true, { '-- the end 🧊' })
    marks(buffer, { SPELLING })
  end
  stop(server)
end)

check('each language is known, also before the file is there', function()
  local config = 'batch:\n  strategy: fixed_size\n  size: 0\nfailure_strategy: FailBatch # 🚲\n'
  local json = '{"x": "🚲", "batch": {"strategy": "fixed_size", "size": 0}, "failure_strategy": "FailBatch"}\n'
  local folder = project({
    ['velo.toml'] = '',
    ['a.yaml'] = config,
    ['a.json'] = json,
    ['a.md'] = '# 🚲\n\n```sql\n' .. SQL .. '```\n',
  })
  local server = start(folder)
  local yaml = open(server, folder, 'a.yaml')
  equal(vim.bo[yaml].filetype, 'yaml')
  marks(yaml, { RANGE })
  local object = open(server, folder, 'a.json')
  equal(vim.bo[object].filetype, 'json')
  marks(object, { RANGE })
  local markdown = open(server, folder, 'a.md')
  equal(vim.bo[markdown].filetype, 'markdown')
  marks(markdown, { SPELLING, RANGE })
  local new = open(server, folder, 'new.sql')
  vim.api.nvim_buf_set_lines(new, 0, -1, true, vim.split(SQL, '\n'))
  marks(new, { SPELLING, RANGE })
  stop(server)
end)

check('keys and values are completed inside quotes', function()
  local sql = SQL:gsub("'batch.size' = '0'", "/* 🚲 */ 'batch.si' = '5', 'batch.parallel' = ''")
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = sql })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')

  -- What Neovim offers at a place, with the text before it; `apply` inserts one of the items.
  local function complete(part, inside)
    local row, column = find(buffer, part, inside)
    local result = ask(server, buffer, 'textDocument/completion', place(server, buffer, row, column))
    local items = result.items or result
    table.sort(items, function(one, other)
      return (one.sortText or one.label) < (other.sortText or other.label)
    end)
    local labels = {}
    for index, item in ipairs(items) do
      labels[index] = item.label
      labels[item.label] = item
    end
    return labels
  end
  local function apply(item)
    vim.lsp.util.apply_text_edits({ item.textEdit }, buffer, server.client.offset_encoding)
  end

  local keys = complete("'batch.si'", #"'batch.si")
  assert(keys['batch.size'].sortText < keys['batch.window'].sortText, 'keys of the strategy do not come first')
  equal(keys['batch.strategy'], nil, 'what is set is not offered')
  assert(keys['batch.size'].documentation.value:find('Records per batch', 1, true), 'no documentation')
  apply(keys['batch.size'])
  assert(text(buffer):find("/* 🚲 */ 'batch.size' = '5'", 1, true), text(buffer))

  local switches = complete("'batch.parallel' = ''", #"'batch.parallel' = '")
  apply(switches['false'])
  assert(text(buffer):find("'batch.parallel' = 'false'", 1, true), text(buffer))
  local strategies = complete('FixedSize', 2)
  apply(strategies['time_window'])
  assert(text(buffer):find("'batch.strategy' = 'time_window', -- 🧊", 1, true), text(buffer))

  -- Placeholders are only for those who understand them; older versions of Neovim do not.
  local can = vim.lsp.protocol.make_client_capabilities().textDocument.completion.completionItem
  local gap = complete('/* é', -1)
  local entry = can.snippetSupport and "'batch.window' = '$0'" or "'batch.window' = ''"
  equal(gap['batch.window'].textEdit.newText:sub(1, #entry), entry)
  for _, label in ipairs(gap) do
    local item = gap[label]
    local has_place = item.textEdit.newText:find('$', 1, true) ~= nil
    equal({ label, has_place }, { label, item.insertTextFormat == 2 })
    assert(can.snippetSupport or not has_place, label)
  end
  stop(server)
end)

check('hover explains a key, and its range is the key', function()
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = SQL })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')
  local row, column = find(buffer, 'batch.strategy', 3)
  local hover = ask(server, buffer, 'textDocument/hover', place(server, buffer, row, column))
  equal(hover.contents.kind, 'markdown')
  assert(hover.contents.value:find('**batch.strategy**', 1, true), hover.contents.value)
  -- The start of the key in the units of the server, as Neovim converts them.
  local key = place(server, buffer, find(buffer, 'batch.strategy')).position
  equal(hover.range.start, key)
  equal(hover.range['end'], { line = key.line, character = key.character + #'batch.strategy' })
  equal(ask(server, buffer, 'textDocument/hover', place(server, buffer, 0, 8)), nil)
  stop(server)
end)

check('fixes are offered where the cursor is, and do what they say', function()
  local sql = SQL:gsub("'batch.size' = '0'", "'batch.timeout' = '1000'")
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = sql })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')
  local function actions(part, only)
    local position = place(server, buffer, find(buffer, part)).position
    local params = {
      textDocument = document(buffer),
      range = { start = position, ['end'] = position },
      context = { diagnostics = {}, only = only },
    }
    local titles = {}
    for index, action in ipairs(ask(server, buffer, 'textDocument/codeAction', params)) do
      titles[index] = action.title
      titles[action.title] = action
    end
    return titles
  end
  local function apply(action)
    vim.lsp.util.apply_workspace_edit(action.edit, server.client.offset_encoding)
  end

  local spelling = actions('FixedSize', { 'quickfix' })
  equal({ spelling[1], spelling[2] }, { 'Write fixed_size', 'Allow non-canonical-spelling here' })
  apply(spelling['Write fixed_size'])
  local expected = sql:gsub('FixedSize', 'fixed_size')
  equal(text(buffer), expected)

  local unit = actions('1000', { 'quickfix' })
  apply(unit['Write 1000ms (may change behaviour)'])
  expected = expected:gsub("'1000'", "'1000ms'")
  equal(text(buffer), expected)

  -- All fixes at once, and an edit that only inserts a line.
  replace(buffer, 'fixed_size', 'FixedSize')
  local all = actions('FixedSize', { 'source.fixAll' })
  equal(#all, 1)
  apply(all[all[1]])
  equal(text(buffer), expected)
  replace(buffer, 'fixed_size', 'FixedSize')
  apply(actions('FixedSize')['Allow non-canonical-spelling here'])
  local allow = '  -- velo: allow(non-canonical-spelling) reason\n'
  local allowed = expected:gsub('\n  /%*', '\n' .. allow .. '  /*'):gsub('fixed_size', 'FixedSize')
  equal(text(buffer), allowed)
  wait('no diagnostic of the spelling', function()
    return not table.concat(shown(buffer)):find('spelling', 1, true)
  end)
  stop(server)
end)

check('statements and settings are in the outline', function()
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = SQL })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')
  local symbols = ask(server, buffer, 'textDocument/documentSymbol', { textDocument = document(buffer) })
  equal(#symbols, 1)
  equal(symbols[1].name, 's')
  local keys = {}
  for _, child in ipairs(symbols[1].children) do
    table.insert(keys, child.name)
  end
  equal(keys, { 'batch.strategy', 'batch.size', 'failure_strategy' })
  local items = vim.lsp.util.symbols_to_items(symbols, buffer, server.client.offset_encoding)
  equal(#items, 4)
  equal(items[3].lnum, 4)
  stop(server)
end)

check('a hint behind the clause says what it means', function()
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = (SQL:gsub("'0'", "'500'")) })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')
  local function hint()
    local params = { textDocument = document(buffer), range = whole(buffer) }
    local hints = ask(server, buffer, 'textDocument/inlayHint', params)
    equal(#hints, 1)
    return hints[1]
  end
  equal(hint().position, { line = 4, character = 1 })
  assert(hint().label:find('fixed_size: poll 500', 1, true), hint().label)
  replace(buffer, "'500'", "'600'")
  replace(buffer, ');', ' -- 🚲\n  /* 🚲 */ );')
  assert(hint().label:find('fixed_size: poll 600', 1, true), hint().label)
  stop(server)
end)

check('a configuration file and the statement that names it are checked together', function()
  local sql = [[
-- 🚲
CREATE STREAM s AS SELECT * FROM orders WITH (
  /* 🚲 */ 'config_file' = 'batch.yaml', 'batch.size' = '500', 'failure_strategy' = 'FailBatch'
);
]]
  local config = '# 🚲 冰\nbatch:\n  strategy: fixed_size\n'
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = sql, ['batch.yaml'] = config })
  local server = start(folder)
  local yaml = open(server, folder, 'batch.yaml')
  local statement = open(server, folder, 'a.sql')
  marks(yaml, {})
  marks(statement, {})
  -- The strategy in one ignores a key in the other.
  replace(yaml, 'fixed_size', 'time_window # 🚲')
  marks(statement, { { 'batch.size', 'WARN', 'inert-key' } })
  replace(yaml, 'batch:', 'batch:\n  window: 0ms')
  marks(yaml, { { '0ms', 'ERROR', 'out-of-range' } })
  replace(statement, 'batch.size', "batch.strategy' = 'fixed_size', 'batch.size")
  vim.api.nvim_buf_call(yaml, function()
    vim.cmd('silent undo 0')
  end)
  marks(yaml, {})
  -- A file that has another name is none of its settings any more.
  replace(statement, 'batch.yaml', 'other.yaml')
  marks(statement, { { 'other.yaml', 'WARN', 'config-file' } })
  stop(server)
end)

check('settings of the project hold, and are read again', function()
  local folder = project({ ['velo.toml'] = "[rules]\nout-of-range = 'allow'\n", ['a.sql'] = SQL })
  local server = start(folder)
  local buffer = open(server, folder, 'a.sql')
  marks(buffer, { SPELLING })
  local settings = folder .. '/velo.toml'
  write(settings, "[rules]\nout-of-range = 'warning'\n")
  local changes = { { uri = vim.uri_from_fname(settings), type = 2 } }
  vim.lsp.buf_notify(buffer, 'workspace/didChangeWatchedFiles', { changes = changes })
  marks(buffer, { SPELLING, { '0', 'WARN', 'out-of-range' } })
  stop(server)
end)

check('a source is renamed wherever the statement and its configuration name it', function()
  local sql = [[
/* 🚲 */ CREATE STREAM s AS SELECT orders.id FROM orders WITH (
  /* é 🚲 */ 'orders.batch.strategy' = 'fixed_size', 'config_file' = 'batch.yaml', 'failure_strategy' = 'FailBatch'
);
-- orders
]]
  local config = '# 冰 orders\norders.batch.size: 500 # 🚲\n'
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = sql, ['batch.yaml'] = config })
  local server = start(folder)
  if not server.client.server_capabilities.renameProvider then
    stop(server)
    leave_out('the server does not rename')
  end
  local buffer = open(server, folder, 'a.sql')
  local row, column = find(buffer, 'FROM orders', #'FROM or')
  local params = place(server, buffer, row, column)
  params.newName = 'zahlung_é'
  local change = ask(server, buffer, 'textDocument/rename', params)
  vim.lsp.util.apply_workspace_edit(change, server.client.offset_encoding)
  equal(text(buffer), (sql:gsub('orders([ .][^\n])', 'zahlung_é%1')))
  -- Neovim has opened the other file to change it.
  local yaml = open(server, folder, 'batch.yaml')
  equal(text(yaml), (config:gsub('orders%.', 'zahlung_é.')))
  marks(yaml, {})
  marks(buffer, {})

  row, column = find(buffer, 'FROM zahlung', #'FROM za')
  params = place(server, buffer, row, column)
  params.newName = "it's"
  local answers = vim.lsp.buf_request_sync(buffer, 'textDocument/rename', params, PATIENCE)
  local refused = answers[server.id].error or answers[server.id].err
  assert(refused and refused.message:find("it's", 1, true), vim.inspect(answers))
  stop(server)
end)

check('what somebody types is completed, and an editor that quits ends its server', function()
  local folder = project({ ['velo.toml'] = '', ['a.sql'] = (SQL:gsub("'0'", "'500'")) })
  local ended = folder .. '/ended'
  local editor = vim.fn.jobstart({ vim.v.progpath, '--embed', '--headless', '--clean', '-n' }, { rpc = true })
  local function run(code, ...)
    return vim.fn.rpcrequest(editor, 'nvim_exec_lua', code, { ... })
  end
  local function type_in(keys)
    vim.fn.rpcrequest(editor, 'nvim_input', keys)
  end
  run([[
    local velo, folder, ended = ...
    vim.cmd('edit ' .. vim.fn.fnameescape(folder .. '/a.sql'))
    local config = {
      name = 'velo',
      cmd = { 'sh', '-c', '"$0" lsp; echo $? > "$1"', velo, ended },
      root_dir = folder,
      flags = { exit_timeout = 30000 },
    }
    if vim.lsp.start then
      client = vim.lsp.start(config)
    else
      client = vim.lsp.start_client(config)
      vim.lsp.buf_attach_client(0, client)
    end
  ]], vim.env.VELO, folder, ended)
  wait('a diagnostic', function()
    return run('return #vim.diagnostic.get(0)') == 1
  end)

  -- The quote is still open, and the next line has more of them.
  local typed = "  /* 🚲 */ 'batch.max_s"
  type_in('/batch.size<CR>O' .. vim.trim(typed))
  wait('the text', function()
    return run('return vim.api.nvim_get_current_line()') == typed
  end)
  local labels = run([[
    local encoding = vim.lsp.get_client_by_id(client).offset_encoding
    local params = vim.lsp.util.make_position_params(0, encoding)
    local answers = vim.lsp.buf_request_sync(0, 'textDocument/completion', params, 30000)
    local result = answers[client].result
    local labels, edit = {}, nil
    for _, item in ipairs(result.items or result) do
      -- As the protocol has it: a range in the line of the cursor, whose text so far is what is filtered by.
      local range = item.textEdit.range
      local here = params.position
      if range.start.line ~= here.line or range['end'].line ~= here.line then
        return { 'a range of several lines' }
      end
      local written = vim.api.nvim_get_current_line():sub(-(here.character - range.start.character))
      if vim.startswith(item.filterText or item.label, written) then
        table.insert(labels, item.label)
        edit = item.textEdit
      end
    end
    if edit then
      vim.lsp.util.apply_text_edits({ edit }, 0, encoding)
    end
    return labels
  ]])
  equal(labels, { 'batch.max_size' })
  local after = run('return vim.api.nvim_buf_get_lines(0, 3, 5, true)')
  local complete = "  /* 🚲 */ 'batch.max_size'"
  equal(after[1]:sub(1, #complete), complete)
  equal(after[2], "  'batch.size' = '500', 'failure_strategy' = 'FailBatch'", 'the line behind it')

  type_in('<Esc>:qall!<CR>')
  wait('the end of the editor', function()
    return vim.fn.jobwait({ editor }, 0)[1] ~= -1
  end)
  wait('the end of its server', function()
    return vim.fn.filereadable(ended) == 1 and #vim.fn.readfile(ended) == 1
  end)
  equal(vim.fn.readfile(ended), { '0' }, 'exit code of the server')
end)

-- The run -----------------------------------------------------------------------------------------

local results = assert(io.open(vim.env.RESULTS, 'wb'))
local function report(result)
  results:write(vim.fn.json_encode(result), '\n')
  results:flush()
end

for _, one in ipairs(checks) do
  local started = uv.hrtime()
  local is_good, failure = xpcall(one.body, function(failure)
    return type(failure) == 'table' and failure or debug.traceback(failure, 2)
  end)
  local result = { name = one.name, ms = math.floor((uv.hrtime() - started) / 1e6) }
  if not is_good then
    result.skipped = type(failure) == 'table' and failure.skipped or nil
    result.failed = not result.skipped and tostring(failure) or nil
  end
  report(result)
  vim.cmd('silent! %bwipeout!')
end
report({ pids = pids })
results:close()
vim.cmd('qall!')

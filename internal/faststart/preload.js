'use strict';

// Runs inside the Node process that jsii's Go runtime starts, before jsii's own
// code (node --require). The package comment in faststart.go says why it exists
// and why it is safe. It is in five parts, each of which can fail without harm:
//
//   1. one process instead of two
//   2. packages loaded by checksum          (unpacking, hashing)
//   3. type descriptions parsed on first use (.jsii)
//   4. modules loaded on first use, from V8's code cache
//   5. what is kept for the next run
//
// Everything hooked is a public function of a Node module, but for two of cdktf
// (formatStacksOnFirstUse, resolveOnlyTokens), and each hook hands over to the
// original for every call that is not exactly the one it is for.

const preloadTime = Date.now();
const crypto = require('crypto');
const fs = require('fs');
const Module = require('module');
const path = require('path');
const { Writable } = require('stream');
const util = require('util');
const vm = require('vm');

const options = JSON.parse(process.env.PREFECT_WORKER_FASTSTART_OPTIONS);
delete process.env.PREFECT_WORKER_FASTSTART_OPTIONS;
for (const [name, value] of Object.entries(options.restore)) {
  if (value === null) delete process.env[name];
  else process.env[name] = value;
}

// cdktf calls util.isArray, of which Node 22 and later warn at every run. The CDKTF CLI
// shows the warning as an error, and nobody who reads it could do anything about it.
if (!process.traceDeprecation && !process.throwDeprecation) process.noDeprecation = true;

// The originals, for use in here.
const { readFileSync, readSync, writeSync } = fs;
const { parse } = JSON;
const loadJavaScript = Module._extensions['.js'];

// What was done, for PREFECT_WORKER_FASTSTART_TRACE.
const counts = {
  checksums: 0, typesRead: 0, assembliesParsedWhole: 0, indexesBuilt: 0,
  submodules: 0, compiledFromCache: 0, compiled: 0,
};
const times = [['node', performance.timeOrigin], ['preload', preloadTime]];
const time = (name) => times.push([name, performance.timeOrigin + performance.now()]);

// jsii starts bin/jsii-runtime.js, which starts a second Node process with
// lib/program.js and passes messages on. Node loads it by its real path; the
// temporary folder of macOS is behind a symbolic link.
const starter = fs.realpathSync(process.argv[1] || '/');
const program = path.join(path.dirname(starter), '..', 'lib', 'program.js');
const checkedNode = [20, 22, 24, 26].includes(Number(process.versions.node.split('.')[0]));
if (checkedNode && starter.endsWith('/bin/jsii-runtime.js')) {
  Module._extensions['.js'] = function (module, file) {
    if (file !== starter) return loadJavaScript.apply(this, arguments);
    beOneProcess();
    acceptChecksums();
    readTypesOnFirstUse();
    renderTypesOnce();
    loadModulesFast();
    keepForNextRun();
    time('jsii');
    module.exports = require(program);
  };
}

// ---- 1. one process ---------------------------------------------------------

// program.js speaks with its parent on file descriptor 3, and its parent wraps
// what it prints. Here it speaks with Go itself, on 0 and 1, and what it prints
// is wrapped as the parent would do it.
function beOneProcess() {
  process.execArgv.push('--preserve-symlinks'); // jsii asks for it by this
  try {
    fs.fstatSync(3); // Node's own, normally
  } catch {
    fs.openSync('/dev/null', 'r'); // takes 3, so that no other file gets it
  }
  fs.readSync = (fd, ...rest) => readSync(fd === 3 ? 0 : fd, ...rest);
  fs.writeSync = (fd, ...rest) => writeSync(fd === 3 ? 1 : fd, ...rest);
  // Loading Node's own streams for these would take a tenth of the whole start.
  for (const [name, fd] of [['stdout', 1], ['stderr', 2]]) {
    const write = (chunk, encoding, done) => {
      writeAll(2, Buffer.from(JSON.stringify({ [name]: chunk.toString('base64') }) + '\n'));
      done();
    };
    const value = Object.assign(new Writable({ write }), { fd });
    Object.defineProperty(process, name, { configurable: true, enumerable: true, value });
  }
}

function writeAll(fd, bytes) {
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (e) {
      if (e.code !== 'EAGAIN') throw e;
    }
  }
}

// ---- 2. packages by checksum ------------------------------------------------

// jsii finds an unpacked package by the SHA-256 of the archive that Go hands
// over. Where Go hands over a marker (loadPackages in faststart.go), the
// checksum is in the marker.
function acceptChecksums() {
  const prefix = Buffer.from(options.markerPrefix, 'base64');
  const { createHash } = crypto;
  crypto.createHash = function (algorithm) {
    const hash = createHash.apply(this, arguments);
    if (algorithm !== 'sha256') return hash;
    const { update } = hash;
    hash.update = function (data) {
      hash.update = update; // a marker comes in one piece, first
      if (Buffer.isBuffer(data) && data.length === prefix.length + 64 && data.subarray(0, prefix.length).equals(prefix)) {
        const checksum = data.toString('latin1', prefix.length);
        counts.checksums++;
        hash.digest = () => Buffer.from(checksum, 'hex');
      }
      return update.apply(this, arguments);
    };
    return hash;
  };
}

// ---- 3. types on first use --------------------------------------------------

const checksums = {}; // of the packages loaded, by name
const submodulesOf = new Map(); // entry file -> its exports, as [name, request]

// jsii reads <package>/.jsii and hands the text to JSON.parse. It gets a text
// without types, and types that read themselves.
function readTypesOnFirstUse() {
  fs.readFileSync = function (file) {
    if (typeof file === 'string' && file.endsWith('/.jsii')) {
      try {
        const assembly = openAssembly(path.dirname(file));
        if (assembly) {
          JSON.parse = function (text) {
            const value = parse.apply(this, arguments);
            if (text !== assembly.text) return value;
            JSON.parse = parse;
            value.types = assembly.types;
            return value;
          };
          return Buffer.from(assembly.text);
        }
      } catch (e) {
        trace({ notice: `${file}: ${e.stack}` });
      }
    }
    return readFileSync.apply(this, arguments);
  };
}

function openAssembly(dir) {
  const name = splitFile(dir)[1].slice('/node_modules/'.length);
  const checksum = path.basename(fs.realpathSync(dir));
  checksums[name] = checksum;
  time(name);

  const file = path.join(dir, '.jsii');
  const fd = fs.openSync(file, 'r');
  const { size, mtimeMs } = fs.fstatSync(fd);

  const cacheFile = path.join(options.dir, `assembly-${checksum}.json`);
  const cached = readChecked(cacheFile);
  let index = cached && parse(cached.toString());
  if (!index || index.size !== size || index.mtimeMs !== mtimeMs) {
    counts.indexesBuilt++;
    index = { size, mtimeMs, ...indexAssembly(readFileSync(fd)), submodules: indexSubmodules(dir) };
    writeChecked(cacheFile, Buffer.from(JSON.stringify(index)));
  }
  if (index.submodules) submodulesOf.set(path.join(dir, 'lib', 'index.js'), index.submodules);

  let whole;
  const readWhole = () => {
    counts.assembliesParsedWhole++;
    return parse(readFileSync(file, 'utf8')).types;
  };
  // jsii only ever asks for a type by name (and counts them, for a number that
  // Go does not look at). A name that is not there yet is looked up in the
  // prototype, which puts it there.
  const types = Object.create(new Proxy(Object.create(null), {
    get(_, fqn) {
      if (typeof fqn !== 'string') return undefined;
      const type = readType(fd, index, fqn) ?? (whole ??= readWhole())[fqn];
      if (type) neverChanges(type);
      return types[fqn] = type;
    },
  }));
  return { text: JSON.stringify(index.header), types };
}

// An assembly is the output of JSON.stringify(…, null, 2): a string holds no
// line break, so a line that begins with exactly four spaces and a quote, in
// the top-level "types", is the name of a type and nothing else. The names are
// sorted. The index holds about every 64 KB the name and the position of one.
function indexAssembly(bytes) {
  const begin = bytes.indexOf('\n  "types": {\n');
  const end = bytes.indexOf('\n  },\n', begin);
  if (begin < 0 || end < 0) throw new Error('not an assembly as jsii writes it');
  const header = parse(bytes.toString('utf8', 0, begin) + bytes.toString('utf8', end + '\n  },'.length));
  // Large, and the kernel does not read them.
  delete header.submodules;
  delete header.readme;

  const names = [], positions = [];
  let previous = '';
  for (let at = bytes.indexOf('\n    "', begin); at >= 0 && at < end; at = bytes.indexOf('\n    "', at + 1)) {
    const name = parse(bytes.toString('utf8', at + 5, bytes.indexOf('": {\n', at) + 1));
    if (name <= previous) throw new Error('types are not sorted');
    previous = name;
    if (!positions.length || at - positions.at(-1) >= 65536) {
      names.push(name);
      positions.push(at);
    }
  }
  positions.push(end);
  return { header, names, positions };
}

// Returns undefined where the index does not lead to the type.
function readType(fd, index, fqn) {
  let low = 0, high = index.names.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (index.names[middle] <= fqn) low = middle;
    else high = middle - 1;
  }
  if (index.low !== low) { // else the neighbour of the last one
    const length = index.positions[low + 1] - index.positions[low];
    index.bytes = Buffer.allocUnsafe(length);
    if (readSync(fd, index.bytes, 0, length, index.positions[low]) !== length) return undefined;
    index.low = low;
  }
  const { bytes } = index;
  const key = Buffer.from(`\n    ${JSON.stringify(fqn)}: `);
  const at = bytes.indexOf(key);
  if (at < 0) return undefined;
  const end = bytes.indexOf('\n    }', at);
  if (end < 0) return undefined;
  counts.typesRead++;
  return parse(bytes.toString('utf8', at + key.length, end + '\n    }'.length));
}

// For each value that crosses between Go and Node, jsii renders the value's type
// for a message that it then does not need: a tenth of a large synth. What was
// read from an assembly never changes, so its rendering can be kept.
const rendered = new WeakMap(); // part of a type -> its rendering, '' for not yet
const renderedOption = new WeakMap(); // the same for an option of a union, which jsii wraps anew each time

function neverChanges({ properties = [], methods = [], initializer }) {
  const values = [...properties];
  for (const { parameters = [], returns } of [...methods, initializer ?? {}]) {
    values.push(...parameters);
    if (returns) values.push(returns);
  }
  for (const value of values) {
    rendered.set(value, '');
    for (const option of value.type?.union?.types ?? []) renderedOption.set(option, '');
  }
}

function renderTypesOnce() {
  const { inspect } = util;
  const once = (texts, key, value) => {
    if (!texts.get(key)) texts.set(key, inspect(value));
    return texts.get(key);
  };
  const inspectOnce = function (value) {
    if (arguments.length !== 1) return inspect.apply(this, arguments);
    if (typeof value === 'string' && /^\w+$/.test(value)) return `'${value}'`;
    if (typeof value !== 'object' || value === null) return inspect(value);
    if (rendered.has(value)) return once(rendered, value, value);
    if (Object.keys(value).length === 1 && renderedOption.has(value.type)) return once(renderedOption, value.type, value);
    return inspect(value);
  };
  util.inspect = Object.assign(inspectOnce, inspect);
}

// ---- 4. modules -------------------------------------------------------------

const codeFile = path.join(options.dir, `code-${process.version}-${process.arch}`);
const code = { sources: {}, resolved: {}, ...readCode() };
const compiled = new Map(); // key -> { script, size, mtimeMs }, new in this run
let resolvedNew = 0;

function loadModulesFast() {
  Module._extensions['.js'] = function (module, file) {
    const key = file === program ? 'program.js' : splitFile(file)[1];
    if (!key) return loadJavaScript.apply(this, arguments);
    const submodules = submodulesOf.get(file);
    if (submodules) return exportOnFirstUse(module, submodules);
    const run = compile(file, key);
    if (!run) return loadJavaScript.apply(this, arguments);
    const require = (request) => module.require(request);
    require.resolve = (request, opts) => Module._resolveFilename(request, module, false, opts);
    require.main = process.mainModule;
    require.extensions = Module._extensions;
    require.cache = Module._cache;
    run.call(module.exports, module.exports, require, module, file, path.dirname(file));
    if (key === '/node_modules/cdktf/lib/tokens/private/stack-trace.js') formatStacksOnFirstUse(module.exports);
    if (key === '/node_modules/cdktf/lib/tokens/private/resolve.js') resolveOnlyTokens(module.exports);
  };

  // Inside the packages a request from one folder always leads to the same
  // file: their folders are named after their checksums.
  const { _resolveFilename } = Module;
  Module._resolveFilename = function (request, parent, isMain, opts) {
    const [root, from] = splitFile(parent?.filename ?? '');
    if (!root || opts || path.isAbsolute(request)) return _resolveFilename.apply(this, arguments);
    const key = `${path.dirname(from)} ${request}`;
    const known = code.resolved[key];
    if (known) return known.startsWith('/') ? root + known : known;
    const file = _resolveFilename.apply(this, arguments);
    const [sameRoot, relative] = splitFile(file);
    if (sameRoot === root || Module.isBuiltin(file)) {
      code.resolved[key] = sameRoot ? relative : file;
      resolvedNew++;
    }
    return file;
  };

  // cdktf requires these at its start and uses them late or, in this process,
  // never: 70 modules.
  const { _load } = Module;
  Module._load = function (request, parent) {
    if ((request === 'archiver' || request === 'semver') && splitFile(parent?.filename ?? '')[1].startsWith('/node_modules/cdktf/lib/')) {
      const load = () => _load.apply(this, arguments);
      return new Proxy(function () {}, {
        get: (_, name) => load()[name],
        apply: (_, self, args) => load().apply(self, args),
      });
    }
    return _load.apply(this, arguments);
  };
}

// Splits the name of a file of a package into jsii's temporary folder and the
// rest, which is the same in every run.
function splitFile(file) {
  const at = file.indexOf('/node_modules/', file.lastIndexOf('/jsii-kernel-'));
  return file.includes('/jsii-kernel-') && at >= 0 ? [file.slice(0, at), file.slice(at)] : ['', ''];
}

// Compiles as Node does, with V8's code cache. V8 itself refuses code of another
// version of V8, for another flag, or for a source of another length.
function compile(file, key) {
  try {
    const { size, mtimeMs } = fs.statSync(file);
    const known = code.sources[key];
    // program.js is unpacked anew by each run.
    const cachedData = known && known.size === size && (known.mtimeMs === mtimeMs || file === program)
      ? code.bytes.subarray(known.at, known.at + known.length) : undefined;
    const script = new vm.Script(Module.wrap(readFileSync(file, 'utf8')), { filename: file, cachedData });
    if (cachedData && !script.cachedDataRejected) {
      counts.compiledFromCache++;
    } else {
      counts.compiled++;
      compiled.set(key, { script, size, mtimeMs });
    }
    return script.runInThisContext();
  } catch (e) {
    return undefined; // an ES module, for example: Node knows what to do
  }
}

// cdktf notes for every token where it was made, as text for an error message.
// Taking down a stack is cheap, making text of it is not.
function formatStacksOnFirstUse(exports) {
  exports.captureStackTrace = function captureLazily(below) {
    const { stackTraceLimit } = Error;
    const taken = {};
    Error.stackTraceLimit = Number.MAX_SAFE_INTEGER;
    Error.captureStackTrace(taken, below || captureLazily);
    Error.stackTraceLimit = stackTraceLimit;
    return new Proxy([], {
      get(lines, name) {
        if (!lines.length) lines.push(...taken.stack.split('\n').slice(1).map((line) => line.replace(/^\s*at\s+/, '')));
        return lines[name];
      },
    });
  };
}

// cdktf resolves each resource three times, and for each name and each value in
// it makes what a token would need: a quarter of a large synth. Most hold no
// token and stay as they are. Whatever is not plainly one of those goes to cdktf.
function resolveOnlyTokens(exports) {
  const { resolve } = exports;
  const token = /TfToken\[|^(String|Any) Map Token Value$/;
  const numbers = /[-|\d|.+]+e[-|\d|.|e|E|+]+/g; // as cdktf looks for them
  const isPlainNumber = (n) => !(Math.abs(n) > 1e280 || n === -123456789); // tokens are about -1e289 and -1e298
  const plain = new Set(); // strings
  const isPlain = (value) => {
    switch (typeof value) {
      case 'string':
        if (plain.has(value)) return true;
        if (token.test(value) || value.match(numbers)?.some((n) => !isPlainNumber(parseFloat(n)))) return false;
        plain.add(value);
        return true;
      case 'number': return isPlainNumber(value);
      case 'boolean': case 'undefined': return true;
      default: return value === null;
    }
  };
  const isPlainOrObject = (value) => (typeof value === 'object' && value !== null) || isPlain(value);
  const isPlainObject = (value) => Object.getPrototypeOf(value) === Object.prototype &&
    typeof value.resolve !== 'function' && value._children === undefined && Object.keys(value).every(isPlain);

  exports.resolve = function (whole, options) {
    if (options.prefix || options.previousContext) return resolve(whole, options);
    const path = [];
    const resolveAny = (value) => {
      if (isPlain(value)) return value;
      if (typeof value !== 'object' || path.length >= 200) return resolve(value, { ...options, prefix: [...path] });
      if (Array.isArray(value) && value.every(isPlainOrObject)) {
        const result = [];
        for (const [i, element] of value.entries()) {
          path.push(`${i}`);
          const resolved = resolveAny(element);
          path.pop();
          if (resolved !== undefined) result.push(resolved);
        }
        return result;
      }
      if (!Array.isArray(value) && isPlainObject(value)) {
        const result = {};
        for (const key of Object.keys(value)) {
          path.push(key);
          const resolved = resolveAny(value[key]);
          path.pop();
          if (resolved !== undefined) result[key] = resolved;
        }
        return result;
      }
      return resolve(value, { ...options, prefix: [...path] });
    };
    return resolveAny(whole);
  };
}

// The provider's lib/index.js is 2,123 lines of exports.x = require("./y");
// Returns them where it is nothing but that, else undefined.
function indexSubmodules(dir) {
  const exported = /^exports\.(\w+) = require\("(\.\/[\w-]+)"\);$/;
  const harmless = /^("use strict";|Object\.defineProperty\(exports, "__esModule", \{ value: true \}\);|(exports\.\w+ = )+void 0;|\/\/.*|\/?\*.*| \*.*|)$/;
  const found = [];
  for (const line of readFileSync(path.join(dir, 'lib', 'index.js'), 'utf8').split('\n')) {
    const match = exported.exec(line);
    if (match) found.push([match[1], match[2]]);
    else if (!harmless.test(line)) return undefined;
  }
  return found;
}

function exportOnFirstUse(module, submodules) {
  const requests = new Map(submodules);
  const load = (exports, name) => {
    counts.submodules++;
    return exports[name] = module.require(requests.get(name));
  };
  const loadAll = (exports) => {
    for (const name of requests.keys()) if (!(name in exports)) load(exports, name);
  };
  Object.defineProperty(module.exports, '__esModule', { value: true });
  module.exports = new Proxy(module.exports, {
    get: (exports, name) => (name in exports || !requests.has(name) ? exports[name] : load(exports, name)),
    // jsii does none of these; who does gets what the stock module has.
    has: (exports, name) => name in exports || requests.has(name),
    ownKeys(exports) {
      loadAll(exports);
      return Reflect.ownKeys(exports);
    },
    getOwnPropertyDescriptor(exports, name) {
      loadAll(exports);
      return Reflect.getOwnPropertyDescriptor(exports, name);
    },
  });
}

// ---- 5. for the next run ----------------------------------------------------

function keepForNextRun() {
  process.on('exit', () => {
    time('exit');
    try {
      const file = path.join(options.dir, 'packages.json');
      const text = JSON.stringify(checksums);
      if (Object.keys(checksums).length === 3 && !(fs.existsSync(file) && readFileSync(file, 'utf8') === text)) {
        writeWhole(file, text);
      }
      if (compiled.size || resolvedNew) writeCode();
    } catch (e) {
      trace({ notice: e.stack });
    }
    trace({ counts, times: [...times, ['end', performance.timeOrigin + performance.now()]] });
  });
}

// The code cache is one file: a line of JSON, then V8's data, each piece where
// V8 can use it in place (a multiple of 8).
function readCode() {
  const bytes = readChecked(codeFile);
  if (!bytes) return {};
  const lineEnd = bytes.indexOf('\n');
  return { ...parse(bytes.toString('utf8', 0, lineEnd)), bytes: bytes.subarray(Math.ceil((lineEnd + 1) / 8) * 8) };
}

function writeCode() {
  const sources = {}, pieces = [];
  let at = 0;
  const add = (key, size, mtimeMs, data) => {
    sources[key] = { size, mtimeMs, at, length: data.length };
    pieces.push(data, Buffer.alloc((8 - data.length % 8) % 8));
    at += data.length + (8 - data.length % 8) % 8;
  };
  for (const [key, s] of Object.entries(code.sources)) {
    if (!compiled.has(key)) add(key, s.size, s.mtimeMs, code.bytes.subarray(s.at, s.at + s.length));
  }
  // Now, not when it was compiled: the functions called since are in it too.
  for (const [key, c] of compiled) add(key, c.size, c.mtimeMs, c.script.createCachedData());
  const line = Buffer.from(JSON.stringify({ sources, resolved: code.resolved }) + '\n');
  writeChecked(codeFile, Buffer.concat([line, Buffer.alloc((8 - line.length % 8) % 8), ...pieces]));
}

// A file with a checksum of its content: V8 runs what it is given, damaged or
// not. The header has 64 bytes. Returns undefined for anything but a whole file
// that belongs to the user alone.
function readChecked(file) {
  try {
    const fd = fs.openSync(file, 'r');
    try {
      const { uid, mode } = fs.fstatSync(fd);
      if (uid !== process.getuid() || (mode & 0o077) !== 0) return undefined;
      const bytes = readFileSync(fd);
      const content = bytes.subarray(64);
      return bytes.toString('latin1', 0, 64) === checksumOf(content) ? content : undefined;
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

function writeChecked(file, content) {
  writeWhole(file, Buffer.concat([Buffer.from(checksumOf(content), 'latin1'), content]));
}

function checksumOf(content) {
  return crypto.createHash('sha256').update(content).digest('hex');
}

// A reader sees the whole file or none; the last of two writers wins.
function writeWhole(file, content) {
  const temporary = `${file}.${process.pid}`;
  try {
    fs.writeFileSync(temporary, content, { mode: 0o600 });
    fs.renameSync(temporary, file);
  } catch (e) {
    fs.rmSync(temporary, { force: true });
    trace({ notice: e.stack });
  }
}

function trace(entry) {
  if (options.trace) fs.appendFileSync(options.trace, JSON.stringify(entry) + '\n', { mode: 0o600 });
}

// Loaded before the CDKTF CLI, for a quick start: keeps the compiled code of its large files,
// which it would compile anew at each start (0.4 s of 13 MB of JavaScript).
//
// Node 22 does that by itself when asked. Before, V8's own cache is used for each large
// module; what does not fit (another Node, another file) is compiled as always.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");
const { Module } = require("node:module");

const dir = process.env.WORKERCTL_COMPILE_CACHE;
// What the CLI starts does without this.
delete process.env.WORKERCTL_COMPILE_CACHE;
if (process.env.WORKERCTL_NODE_OPTIONS) {
  process.env.NODE_OPTIONS = process.env.WORKERCTL_NODE_OPTIONS;
} else {
  delete process.env.NODE_OPTIONS;
}
// Without it a cached script could not use import().
const dynamicImport = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER;
const large = 100_000; // bytes; small files compile in less time than a cache is read

// What converts HCL takes another 0.4 s, and few commands do: it is loaded when something is
// taken of it. The names are all that the CLI takes.
const load = Module._load;
Module._load = function (request, ...others) {
  if (request !== "@cdktf/hcl2cdk") {
    return load(request, ...others);
  }
  const converter = { __esModule: true };
  for (const name of ["convert", "convertProject", "getTerraformConfigFromDir", "parseProviderRequirements"]) {
    Object.defineProperty(converter, name, { enumerable: true, get: () => load(request, ...others)[name] });
  }
  return converter;
};

if (dir && Module.enableCompileCache) {
  Module.enableCompileCache(dir);
} else if (dir && dynamicImport) {
  const compile = Module.prototype._compile;
  const fresh = [];
  Module.prototype._compile = function (content, filename) {
    if (content.length < large) {
      return compile.call(this, content, filename);
    }
    const { size, mtimeMs } = fs.statSync(filename);
    const name = [path.basename(filename), size, mtimeMs, process.version].join("-");
    const file = path.join(dir, name);
    let cachedData;
    try {
      cachedData = fs.readFileSync(file);
    } catch {
      // not there yet
    }
    const script = new vm.Script(Module.wrap(content.replace(/^#!.*/, "")), {
      filename,
      cachedData,
      importModuleDynamically: dynamicImport,
    });
    if (!cachedData || script.cachedDataRejected) {
      fresh.push({ script, file });
    }
    const require = Module.createRequire(filename);
    require.main = process.mainModule;
    return script.runInThisContext().call(this.exports, this.exports, require, this, filename, path.dirname(filename));
  };
  // At the end, because by then the functions that were used are compiled too.
  process.once("exit", () => {
    for (const { script, file } of fresh) {
      try {
        fs.mkdirSync(dir, { recursive: true });
        const partial = `${file}.${process.pid}`;
        fs.writeFileSync(partial, script.createCachedData());
        fs.renameSync(partial, file);
      } catch {
        return; // a cache that cannot be written is none
      }
    }
  });
}

// Builds and packages the extension outside of the checkout.
// In: a folder for packages, as the argument; the files here, the licences and docs/schema. Out: <folder>/velo.vsix;
// <folder>/vscode is the staged extension with its packages.
'use strict';
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');

const root = path.join(__dirname, '../..');
const COPIED = ['package.json', 'package-lock.json', '.npmrc', '.vscodeignore', 'README.md', 'src'];
const LICENSES = ['LICENSE-APACHE', 'LICENSE-MIT'];

async function main() {
  if (process.argv.length !== 3) throw new Error('usage: node package.cjs FOLDER');
  const home = path.resolve(process.argv[2]);
  const stage = path.join(home, 'vscode');
  fill(stage);
  installPackages(stage);
  const installed = createRequire(path.join(stage, 'package.json'));
  await bundle(installed('esbuild'), stage);
  const { createVSIX } = installed('@vscode/vsce');
  const packagePath = path.join(home, 'velo.vsix');
  // vsce finds the sizes of files only from the working folder.
  process.chdir(stage);
  await createVSIX({
    packagePath, dependencies: false,
    // The licence files have the names that they have in the repository.
    skipLicense: true, allowMissingRepository: true,
  });
  console.log(`${packagePath}: ${(fs.statSync(packagePath).size / 1024).toFixed(1)} KiB`);
}

// Copies everything that the extension is made of to the stage.
function fill(stage) {
  for (const made of ['src', 'dist', 'schema']) fs.rmSync(path.join(stage, made), { recursive: true, force: true });
  fs.mkdirSync(path.join(stage, 'schema'), { recursive: true });
  for (const name of COPIED) fs.cpSync(path.join(__dirname, name), path.join(stage, name), { recursive: true });
  for (const name of LICENSES) fs.cpSync(path.join(root, name), path.join(stage, name));
  const schema = JSON.parse(fs.readFileSync(path.join(root, 'docs/schema/yaml.draft-7.json'), 'utf8'));
  fs.writeFileSync(path.join(stage, 'schema/yaml.json'), JSON.stringify(schema));
}

// Installs what the lock file names, unless that is there already.
function installPackages(stage) {
  const lock = fs.readFileSync(path.join(stage, 'package-lock.json'), 'utf8');
  const marker = path.join(stage, 'installed-lock.json');
  if (fs.existsSync(marker) && fs.readFileSync(marker, 'utf8') === lock) return;
  fs.rmSync(marker, { force: true });
  execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: stage, stdio: ['ignore', 'inherit', 'inherit'] });
  fs.writeFileSync(marker, lock);
}

async function bundle(esbuild, stage) {
  const { metafile } = await esbuild.build({
    absWorkingDir: stage, entryPoints: ['src/extension.js'], outfile: 'dist/extension.js',
    bundle: true, minify: true, platform: 'node', format: 'cjs', target: 'node20', external: ['vscode'],
    legalComments: 'none', metafile: true, logLevel: 'warning',
  });
  const ofPackage = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//;
  const folders = Object.keys(metafile.inputs).map((input) => ofPackage.exec(input)?.[1]);
  const packages = [...new Set(folders)].filter(Boolean).sort();
  fs.writeFileSync(path.join(stage, 'THIRD-PARTY.txt'), packages.map((folder) => notice(stage, folder)).join('\n'));
}

// Returns the name, version and licence of a package that is part of the bundle.
function notice(stage, folder) {
  const place = path.join(stage, folder);
  const { name, version, license } = JSON.parse(fs.readFileSync(path.join(place, 'package.json'), 'utf8'));
  const file = fs.readdirSync(place).find((file) => /^licen[cs]e/i.test(file));
  if (!file) throw new Error(`${name} ${version} has no licence file`);
  return `${name} ${version} (${license})\n\n${fs.readFileSync(path.join(place, file), 'utf8').trim()}\n`;
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

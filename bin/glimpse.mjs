#!/usr/bin/env node
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ensureNodeModules, registerTypeScript, requirePlatform, root } from "./bootstrap.mjs";

requirePlatform();
if (existsSync(join(root, "cli", "main.ts"))) {
  ensureNodeModules();
  await registerTypeScript();
  await import("../cli/main.ts");
} else {
  await import("../dist/cli/main.js");
}

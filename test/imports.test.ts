import { readFileSync } from "node:fs";
import { globSync } from "node:fs";
import { dirname, relative, resolve, sep } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../orchestrator/package-root.ts";

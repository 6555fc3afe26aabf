/**
 * Writes docs/API.md: every export of the package with its declaration and comments, as the compiler gives them out. Run it
 * with: npx tsx test/docs/api-reference.ts. (typedoc would need a plug-in for Markdown and make a folder of pages; all it
 * would add to the declarations is links.)
 */
import { writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { packageRoot } from "../../orchestrator/package-root.ts";

export const apiPage = join(packageRoot, "docs", "API.md");

const sections = ["Functions and values", "Classes", "Types"] as const;
type Section = (typeof sections)[number];

interface Entry {
  name: string;
  section: Section;
  /** The declarations with their comments. */
  code: string;
}

export function renderApi(): string {
  const entries = readExports(join(packageRoot, "sdk", "index.ts"));
  const parts = sections.flatMap((section) => [`## ${section}`, ...rendered(entries, section)]);
  const provider = readExports(join(packageRoot, "sdk", "ai-sdk", "index.ts"));
  const ofProvider = ["## glimpse/ai-sdk", ...sections.flatMap((section) => rendered(provider, section))];
  const head = "# The API\n\nMade from the sources by `npx tsx test/docs/api-reference.ts`; a test keeps it current.";
  return `${[head, ...parts, ...ofProvider].join("\n\n")}\n`;
}

function rendered(entries: readonly Entry[], section: Section): string[] {
  const own = entries.filter((entry) => entry.section === section);
  return own.map(({ name, code }) => `### ${name}\n\n\`\`\`ts\n${code}\n\`\`\``);
}

function readExports(path: string): Entry[] {
  const { config } = ts.readConfigFile(join(packageRoot, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, packageRoot);
  const emitting = { ...options, noEmit: false, declaration: true, emitDeclarationOnly: true, noCheck: true };
  const program = ts.createProgram([path], emitting);
  const declarations = new Map<string, ts.SourceFile>();
  program.emit(undefined, (to, text) => {
    declarations.set(to.replace(/\.d\.ts$/, ".ts"), ts.createSourceFile(to, text, ts.ScriptTarget.Latest, true));
  });
  const checker = program.getTypeChecker();
  const file = program.getSourceFile(path);
  const module = file && checker.getSymbolAtLocation(file);
  if (module === undefined) throw new Error(`${path} has no exports`);
  const entries = checker.getExportsOfModule(module).map((symbol): Entry => {
    const own = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    const [declared] = own.declarations ?? [];
    const emitted = declared && declarations.get(declared.getSourceFile().fileName);
    if (declared === undefined || emitted === undefined) throw new Error(`${symbol.name} has no declaration`);
    const inferred = ts.isTypeAliasDeclaration(declared) && declared.getText().includes("z.infer<");
    const code = inferred ? writtenOut(declared, checker) : textOf(declared, emitted);
    return { name: symbol.name, section: sectionOf(declared), code };
  });
  return entries.sort((one, other) => one.name.localeCompare(other.name, "en"));
}

function sectionOf(declared: ts.Declaration): Section {
  if (ts.isClassDeclaration(declared)) return "Classes";
  const isType = ts.isTypeAliasDeclaration(declared) || ts.isInterfaceDeclaration(declared);
  return isType ? "Types" : "Functions and values";
}

/** A type that a schema yields: of an object member by member, with the schema's comments. */
function writtenOut(declared: ts.TypeAliasDeclaration, checker: ts.TypeChecker): string {
  const toText = (type: ts.Type) =>
    checker.typeToString(type, declared, ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.InTypeAlias);
  const type = checker.getTypeAtLocation(declared);
  if (type.isUnion()) return `type ${declared.name.text} = ${toText(type)};`;
  const members = type.getProperties().map((property) => {
    const comment = ts.displayPartsToString(property.getDocumentationComment(checker));
    const optional = property.flags & ts.SymbolFlags.Optional ? "?" : "";
    const line = `  ${property.name}${optional}: ${toText(checker.getTypeOfSymbol(property))};`;
    return comment === "" ? line : `  /** ${comment} */\n${line}`;
  });
  return [`type ${declared.name.text} = {`, ...members, "};"].join("\n");
}

/** The declaration as it was emitted; of a module (`export * as`), all of its declarations. */
function textOf(declared: ts.Declaration, emitted: ts.SourceFile): string {
  const text = ts.isSourceFile(declared)
    ? emitted.text.replaceAll(/^import .*$/gm, "")
    : emitted.statements
        .filter((statement) => namesOf(statement).includes(nameOf(declared)))
        .map((one) => one.getFullText());
  return [text]
    .flat()
    .join("\n")
    .replaceAll(/^ *#private;\n/gm, "")
    .replaceAll(/^(?: {4})+/gm, (spaces) => spaces.slice(spaces.length / 2))
    .replaceAll(/^export (declare )?/gm, "")
    .trim();
}

function nameOf(declared: ts.Declaration): string {
  return ts.getNameOfDeclaration(declared)?.getText() ?? "";
}

function namesOf(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement)) return statement.declarationList.declarations.map((one) => nameOf(one));
  return ts.isDeclarationStatement(statement) ? [nameOf(statement)] : [];
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(apiPage, renderApi());
  process.stdout.write(`${relative(process.cwd(), apiPage)}\n`);
}

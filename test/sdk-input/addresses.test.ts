import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPublicAddress } from "../../sdk/media/address.ts";
import { checkDestination } from "../../sdk/media/destination.ts";

/** What must never be reached, as numbers: an oracle that shares nothing with the code. */
const hiddenRanges: [from: string, bits: number][] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];

const toNumber = (dotted: string) => dotted.split(".").reduce((value, part) => value * 256 + Number(part), 0);
const hidden = fc
  .constantFrom(...hiddenRanges)
  .chain(([from, bits]) => fc.nat({ max: 2 ** (32 - bits) - 1 }).map((offset) => toNumber(from) + offset));

const bytesOf = (address: number) => [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256);
const dotted = (address: number) => bytesOf(address).join(".");
const hex = (address: number) => `0x${address.toString(16)}`;
const groups = (address: number) =>
  [Math.floor(address / 65536), address % 65536].map((part) => part.toString(16)).join(":");

/** The same address in every way in which a URL can write it. */
const spellings: Record<string, (address: number) => string> = {
  dotted,
  decimal: String,
  hexadecimal: hex,
  "upper-case hexadecimal": (address) => hex(address).toUpperCase(),
  octal: (address) => `0${address.toString(8)}`,
  "octal parts": (address) =>
    bytesOf(address)
      .map((byte) => `0${byte.toString(8)}`)
      .join("."),
  "hexadecimal parts": (address) =>
    bytesOf(address)
      .map((byte) => `0x${byte.toString(16)}`)
      .join("."),
  "two parts": (address) => `${Math.floor(address / 2 ** 24)}.${address % 2 ** 24}`,
  "three parts": (address) => `${bytesOf(address).slice(0, 2).join(".")}.${address % 65536}`,
  "a final dot": (address) => `${dotted(address)}.`,
  "percent signs": (address) => [...dotted(address)].map((c) => `%${c.charCodeAt(0).toString(16)}`).join(""),
  "full-width digits": (address) =>
    dotted(address).replace(/\d/g, (digit) => String.fromCharCode(0xff10 + Number(digit))),
  "ideographic dots": (address) => dotted(address).replaceAll(".", "。"),
  "IPv4-mapped": (address) => `[::ffff:${dotted(address)}]`,
  "IPv4-mapped, in groups": (address) => `[0:0:0:0:0:FFFF:${groups(address)}]`,
  "IPv4-compatible": (address) => `[::${groups(address)}]`,
  "IPv4-translated": (address) => `[::ffff:0:${groups(address)}]`,
  NAT64: (address) => `[64:ff9b::${groups(address)}]`,
  "local NAT64": (address) => `[64:ff9b:1::${groups(address)}]`,
  "6to4": (address) => `[2002:${groups(address)}::1]`,
  Teredo: (address) => `[2001:0:${groups(address)}::1]`,
};

const check = (url: string, addresses: string[] = []) =>
  checkDestination(
    new URL(url),
    new Set(),
    async () => addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    new AbortController().signal,
  );

describe("an address that is not public is never reached", () => {
  it.each(Object.entries(spellings))("written as %s", async (_name, spell) => {
    await fc.assert(
      fc.asyncProperty(hidden, fc.constantFrom("http", "https"), async (address, scheme) => {
        await expect(check(`${scheme}://${spell(address)}/`)).rejects.toMatchObject({ code: "FETCH_REFUSED" });
      }),
    );
  });

  it("behind a name, among any other addresses, in either family", async () => {
    const open = fc.constantFrom("93.184.216.34", "8.8.8.8", "2606:4700:4700::1111");
    const closed = hidden.chain((address) => fc.constantFrom(dotted(address), `::ffff:${dotted(address)}`));
    await fc.assert(
      fc.asyncProperty(fc.array(open), closed, fc.array(open), async (before, address, after) => {
        const call = check("https://name.test/", [...before, address, ...after]);
        await expect(call).rejects.toMatchObject({ code: "FETCH_REFUSED" });
      }),
    );
  });

  it("in IPv6 outside of the global unicast range, whatever zone it names", () => {
    const first = fc.nat({ max: 0xffff }).filter((group) => group < 0x2000 || group > 0x3fff);
    const rest = fc.array(fc.nat({ max: 0xffff }), { minLength: 7, maxLength: 7 });
    const zone = fc.constantFrom("", "%1", "%eth0");
    fc.assert(
      fc.property(first, rest, zone, (head, tail, suffix) => {
        expect(isPublicAddress([head, ...tail].map((group) => group.toString(16)).join(":") + suffix)).toBe(false);
      }),
    );
  });
});

describe("public addresses are reached", () => {
  it("all of IPv4 except the ranges that are set apart", () => {
    const apart = [
      ...hiddenRanges,
      ["192.0.2.0", 24],
      ["192.88.99.0", 24],
      ["198.51.100.0", 24],
      ["203.0.113.0", 24],
      ["168.63.129.16", 32],
    ] as const;
    const isApart = (address: number) =>
      apart.some(([from, bits]) => address >= toNumber(from) && address < toNumber(from) + 2 ** (32 - bits));
    const borders = apart.flatMap(([from, bits]) => [toNumber(from), toNumber(from) + 2 ** (32 - bits)]);
    const nearBorder = fc
      .tuple(fc.constantFrom(...borders), fc.constantFrom(-1, 0))
      .map(([at, by]) => Math.min(Math.max(at + by, 0), 2 ** 32 - 1));
    fc.assert(
      fc.property(fc.oneof(fc.nat({ max: 2 ** 32 - 1 }), nearBorder), (address) => {
        expect(isPublicAddress(dotted(address))).toBe(!isApart(address));
      }),
      { numRuns: 1000 },
    );
  });

  it.each(["2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "2001:4860:4860::8888", "2400:cb00::1"])(
    "%s",
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );

  it.each(["", "localhost", "1.2.3", "2001:db8::1", "2002::1", "2001::1", "3fff::1", "999.1.1.1"])(
    "but not %j",
    (address) => {
      expect(isPublicAddress(address)).toBe(false);
    },
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { type Loss, Suspicion, type Verdict } from "../../orchestrator/requests/suspicion.ts";

/** Alone or in company; fruitless unless it got on; by the worker's own doing unless from outside. */
const crowd: Loss = { alone: false, progressed: false, outside: false };
const crowdKilled: Loss = { ...crowd, outside: true };
const crowdGotOn: Loss = { ...crowd, progressed: true };
const alone: Loss = { alone: true, progressed: false, outside: false };
const aloneKilled: Loss = { ...alone, outside: true };
const aloneGotOn: Loss = { ...alone, progressed: true };

function verdicts(...losses: Loss[]): Verdict[] {
  const suspicion = new Suspicion();
  return losses.map((loss) => suspicion.lost(loss));
}

test.each<[story: string, losses: Loss[], verdicts: Verdict[]]>([
  ["one loss proves nothing", [crowd], ["retry"]],
  ["not even alone", [alone], ["retry"]],
  ["two make a suspect, which runs alone", [crowdGotOn, crowdGotOn], ["retry", "alone"]],
  ["a poison among others: two losses in company, one alone", [crowd, crowd, alone], ["retry", "alone", "quarantine"]],
  ["a poison on an idle pool: two losses", [alone, alone], ["retry", "quarantine"]],
  ["company accuses nobody, however often", Array(9).fill(crowd), ["retry", ...Array(8).fill("alone")]],
  ["company after a loss alone does not either", [alone, crowd, crowd], ["retry", "alone", "alone"]],
  ["killed twice while streaming among others", [crowdGotOn, crowdKilled], ["retry", "alone"]],
  ["killed twice, alone both times", [aloneKilled, aloneKilled], ["retry", "alone"]],
  [
    "killed three times in a row before a token",
    [crowdKilled, aloneKilled, aloneKilled],
    ["retry", "alone", "quarantine"],
  ],
  ["killed once more after it got on", [crowd, aloneGotOn, aloneKilled], ["retry", "alone", "alone"]],
  ["one token clears the row", [alone, aloneGotOn, alone], ["retry", "alone", "alone"]],
  ["and the row begins anew", [alone, aloneGotOn, alone, alone], ["retry", "alone", "alone", "quarantine"]],
  [
    "five losses alone are enough, however far it got",
    [crowdGotOn, ...Array(5).fill(aloneGotOn)],
    ["retry", "alone", "alone", "alone", "alone", "quarantine"],
  ],
])("%s", (_, losses, expected) => {
  expect(verdicts(...losses)).toEqual(expected);
});

test("a suspect is known as one", () => {
  const suspicion = new Suspicion();
  expect([suspicion.losses, suspicion.suspect]).toEqual([0, false]);
  suspicion.lost(crowd);
  expect([suspicion.losses, suspicion.suspect]).toEqual([1, false]);
  suspicion.lost(crowd);
  expect([suspicion.losses, suspicion.suspect]).toEqual([2, true]);
});

test("nobody is quarantined for a loss in company or for a single one, and nobody outlives five alone", () => {
  const loss = fc.record({ alone: fc.boolean(), progressed: fc.boolean(), outside: fc.boolean() });
  fc.assert(
    fc.property(fc.array(loss, { maxLength: 20 }), (losses) => {
      const suspicion = new Suspicion();
      let lostAlone = 0;
      for (const [index, one] of losses.entries()) {
        lostAlone += one.alone ? 1 : 0;
        const verdict = suspicion.lost(one);
        if (!one.alone || index === 0) expect(verdict).not.toBe("quarantine");
        if (one.alone && lostAlone >= 5) expect(verdict).toBe("quarantine");
        if (index > 0) expect(verdict).not.toBe("retry");
      }
    }),
  );
});

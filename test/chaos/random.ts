/** Numbers that a seed determines: the same seed plays the same chaos again. */
export interface Random {
  /** From 0 to `below` - 1. */
  int(below: number): number;
  pick<Item>(items: readonly Item[]): Item;
  /** A shuffled copy. */
  shuffle<Item>(items: readonly Item[]): Item[];
}

/** Mulberry32. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const int = (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
  return {
    int,
    pick: <Item>(items: readonly Item[]) => items[int(items.length)] as Item,
    shuffle: <Item>(items: readonly Item[]) => {
      const left = [...items];
      return items.map(() => left.splice(int(left.length), 1)[0] as Item);
    },
  };
}

/** GLIMPSE_CHAOS_SEED, when it is set, in the place of what the test plays otherwise. */
export function seedsOr(seeds: readonly number[]): readonly number[] {
  const wanted = process.env["GLIMPSE_CHAOS_SEED"];
  return wanted === undefined ? seeds : [Number(wanted)];
}

/** A failure of `play` names the seed, so that it can be played again. */
export async function withSeed<Result>(seed: number, play: (random: Random) => Promise<Result>): Promise<Result> {
  try {
    return await play(seeded(seed));
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    throw new Error(`with GLIMPSE_CHAOS_SEED=${seed}: ${reason}`, { cause });
  }
}

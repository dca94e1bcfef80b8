//! Random numbers that are the same for the same seed, on every machine and with every version of every library.
//!
//! The generators of `rand` do not promise that, and a finding with "seed 7" must mean the same rows a year later.
//! This is SplitMix64 (Steele, Lea and Flood 2014).

#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers for one row. They do not depend on other rows, so any number of connections makes the same
    /// database.
    pub fn for_row(seed: u64, table: &str, row: u64) -> Self {
        let named = table.bytes().fold(seed, |sum, byte| mix(sum ^ u64::from(byte)));
        Self(mix(named ^ row))
    }

    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Scrambles a number: neighbouring inputs have unrelated outputs.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

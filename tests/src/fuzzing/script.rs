//! A script: octets, read as the choices that make up a story.

use bytes::Bytes;

/// Octets that choose; when they are used up, every choice is the first one.
#[derive(Clone, Debug)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// Begins at the first octet.
    pub fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// Tells whether nothing is left to choose.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One octet.
    pub fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Two octets, the high one first.
    pub fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    /// One of these.
    ///
    /// # Panics
    /// There are none.
    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.octet()) % choices.len()].clone()
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.octet() & 1 == 1
    }

    /// One of these, or none.
    pub fn maybe<T: Clone>(&mut self, choices: &[T]) -> Option<T> {
        match usize::from(self.octet()) % (choices.len() + 1) {
            0 => None,
            number => Some(choices[number - 1].clone()),
        }
    }

    /// A string of octets, with its length before it: at most 255.
    pub fn string(&mut self) -> Bytes {
        let len = usize::from(self.octet()).min(self.0.len());
        let (string, rest) = self.0.split_at(len);
        self.0 = rest;
        Bytes::copy_from_slice(string)
    }
}

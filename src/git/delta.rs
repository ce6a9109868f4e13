//! How packs write one object as a difference from another, and their numbers of varying length.
//!
//! Nothing is believed: every place and length is checked before it is used.

/// Carries out a delta, unless what comes of it is not what it promises, or longer than `most`.
pub(super) fn patch(base: &[u8], mut delta: &[u8], most: usize, into: &mut Vec<u8>) -> Option<()> {
    let mut next = || {
        let first = take(&mut delta)?;
        size(first, 7, &mut delta)
    };
    let (from, length) = (next()?, next()?);
    if from != base.len() || length > most {
        return None;
    }
    into.clear();
    while let Some(word) = take(&mut delta) {
        let piece = match word {
            0 => return None,
            1..0x80 => delta.split_off(..usize::from(word))?,
            _ => {
                let mut bits = |from: u8, count: u8| {
                    (0..count)
                        .filter(|bit| word & 1 << (from + bit) != 0)
                        .try_fold(0, |number, bit| Some(number | usize::from(take(&mut delta)?) << (8 * bit)))
                };
                let (start, count) = (bits(0, 4)?, bits(4, 3)?);
                let count = if count == 0 { 0x10000 } else { count };
                base.get(start..start + count)?
            }
        };
        if into.len() + piece.len() > length {
            return None;
        }
        into.extend_from_slice(piece);
    }
    (into.len() == length).then_some(())
}

/// Takes the first byte.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u8> {
    bytes.split_off_first().copied()
}

/// Reads a size of which the first byte has this many bits, least significant ones first.
pub(super) fn size(first: u8, bits: u32, rest: &mut &[u8]) -> Option<usize> {
    let (mut byte, mut shift) = (first, bits);
    let mut number = usize::from(first) & ((1 << bits) - 1);
    while byte & 0x80 != 0 {
        byte = take(rest)?;
        // No size that matters takes more.
        let more = usize::from(byte & 0x7f);
        number |= if shift < 32 { more << shift } else { return None };
        shift += 7;
    }
    Some(number)
}

/// Reads how far before a delta its base begins.
pub(super) fn distance(rest: &mut &[u8]) -> Option<usize> {
    let mut byte = take(rest)?;
    let mut number = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = take(rest)?;
        number = (number + 1).checked_mul(128)? | usize::from(byte & 0x7f);
    }
    Some(number).filter(|&number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_that_lie_are_refused() {
        let base = b"0123456789";
        let check = |delta: &[u8], expected: Option<&[u8]>| {
            let mut patched = Vec::new();
            assert_eq!(patch(base, delta, 100, &mut patched).map(|()| &patched[..]), expected, "{delta:?}");
        };
        check(&[10, 5, 0x91, 2, 3, 2, b'a', b'b'], Some(b"234ab"));
        check(&[9, 5, 0x91, 2, 3, 2, b'a', b'b'], None);
        check(&[10, 4, 0x91, 2, 3, 2, b'a', b'b'], None);
        check(&[10, 6, 0x91, 2, 3, 2, b'a', b'b'], None);
        check(&[10, 3, 0x91, 8, 3], None);
        check(&[10, 3, 0x9f, 0xff, 0xff, 0xff, 0xff, 3], None);
        check(&[10, 3, 0x91, 2], None);
        check(&[10, 3, 3, b'a'], None);
        check(&[10, 1, 0, b'a'], None);
        check(&[10, 0x80], None);
        check(&[10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], None);
        check(&[10, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x80], None);
        check(&[10, 101, 0x91, 0, 10], None);
        check(&[], None);
    }
}

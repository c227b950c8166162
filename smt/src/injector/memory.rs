//! Walks through memory in an order that no processor foresees: half a cache, or half the entries of the TLB, by one stream or four
//! at once, each of which waits for what it reads to know where to go on.

use std::hint::black_box;

use super::load::Load;

/// What is read at once (a line of the cache, of most processors).
const LINE: usize = 64;
/// What an entry of the TLB is for.
const PAGE: usize = 4096;
const LINES_OF_PAGE: usize = PAGE / LINE;
/// No more is walked through, in bytes.
const MOST: usize = 64 << 20;
/// How many steps a stream takes, for about a millisecond.
const STEPS: usize = 100_000;
const STREAMS: usize = 4;

/// A line of memory, with the number of the next one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line(u32);

/// Half a cache of so many bytes; `None` where there is none.
pub(super) fn cache(bytes: Option<usize>, streams: usize) -> Option<Load> {
    let lines = bytes?.min(2 * MOST) / 2 / LINE;
    (lines >= STREAMS).then(|| walk(&(0..lines).collect::<Vec<_>>(), streams))
}

/// Half of so many entries of the TLB: a line of each page, not the same one, as those would not fit into the cache together.
pub(super) fn tlb(entries: usize, streams: usize) -> Load {
    let pages = 0..(entries / 2).max(STREAMS);
    let places: Vec<usize> = pages
        .map(|page| page * LINES_OF_PAGE + page % LINES_OF_PAGE)
        .collect();
    walk(&places, streams)
}

/// Through lines at these places, in one circle.
fn walk(places: &[usize], streams: usize) -> Load {
    let length = places.iter().max().map_or(0, |last| last + 1);
    let mut lines = vec![Line(0); length];
    let circle = circle(places.len());
    for (at, place) in places.iter().enumerate() {
        let next = places[circle[at]];
        lines[*place] = Line(u32::try_from(next).expect("no more than MOST is walked through"));
    }
    let mut heads = [0; STREAMS];
    for (stream, head) in heads.iter_mut().enumerate() {
        *head = u32::try_from(places[stream * places.len() / STREAMS]).expect("as above");
    }
    let next = |lines: &[Line], head: &mut u32| *head = lines[*head as usize].0;
    if streams == 1 {
        return Box::new(move || {
            for _ in 0..STEPS {
                next(&lines, &mut heads[0]);
            }
            black_box(&heads);
        });
    }
    Box::new(move || {
        for _ in 0..STEPS / 2 {
            for head in &mut heads {
                next(&lines, head);
            }
        }
        black_box(&heads);
    })
}

/// For each of so many which comes next, all in one circle and in no order (Sattolo's algorithm).
fn circle(count: usize) -> Vec<usize> {
    let mut next: Vec<usize> = (0..count).collect();
    let mut state: u64 = 0x2545_f491_4f6c_dd1d;
    for last in (1..count).rev() {
        // xorshift64: the same circle each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        #[expect(clippy::cast_possible_truncation, reason = "it is less than `last`")]
        let other = (state % last as u64) as usize;
        next.swap(last, other);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_goes_through_all() {
        for count in [1, 2, 32, 1000] {
            let next = circle(count);
            let (mut at, mut steps) = (0, 0);
            loop {
                at = next[at];
                steps += 1;
                if at == 0 {
                    break;
                }
            }
            assert_eq!(steps, count);
        }
    }

    #[test]
    fn what_is_no_cache_is_not_walked_through() {
        assert!(cache(None, 1).is_none() && cache(Some(100), 1).is_none());
        let mut small = cache(Some(32 << 10), 4).unwrap();
        small();
    }
}

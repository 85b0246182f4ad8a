//! Quads side by side in the buffer that are drawn by one call: of one encoding, and on the screen.

use std::ops::Range;

use crate::model::Encoding;
use crate::model::plan::Rect;
use crate::world::layout::Quad;

/// Quads that are left out or drawn together.
const MOST: usize = 128;

/// Quads of one encoding that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuadRun {
    /// The encoding; `None` is what is flat.
    pub encoding: Option<Encoding>,
    /// Their places in the list.
    pub quads: Range<u32>,
    /// The cells that its quads cover.
    bounds: Rect,
}

/// The runs of a list of quads, in its order.
pub fn runs(quads: &[Quad]) -> Vec<QuadRun> {
    let mut at = 0;
    let mut run = |quads: &[Quad]| {
        let bounds = quads.iter().map(rect).fold(Rect::default(), Rect::union);
        let first = at;
        at += quads.len() as u32;
        QuadRun { encoding: quads[0].encoding(), quads: first..at, bounds }
    };
    let alike = quads.chunk_by(|one, next| one.encoding() == next.encoding());
    alike.flat_map(|alike| alike.chunks(MOST)).map(&mut run).collect()
}

/// The runs of which something may be within `seen`; neighbours of one encoding are one.
pub fn visible(runs: &[QuadRun], seen: &Rect) -> Vec<(Option<Encoding>, Range<u32>)> {
    let mut found: Vec<(Option<Encoding>, Range<u32>)> = Vec::new();
    for run in runs.iter().filter(|run| run.bounds.overlaps(seen)) {
        match found.last_mut() {
            Some((encoding, quads))
                if *encoding == run.encoding && quads.end == run.quads.start =>
            {
                quads.end = run.quads.end;
            }
            _ => found.push((run.encoding, run.quads.clone())),
        }
    }
    found
}

fn rect(quad: &Quad) -> Rect {
    Rect::new(quad.x.into(), quad.y.into(), quad.width.into(), quad.height.into())
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;
    use crate::world::layout::FLAT;

    fn quad(kind: u32, x: i32) -> Quad {
        Quad { kind, x, width: 10, height: 10, ..Zeroable::zeroed() }
    }

    #[test]
    fn every_quad_is_in_one_run_and_what_is_far_away_is_left_out() {
        let mut quads = vec![quad(FLAT, 0), quad(FLAT, 10_000)];
        quads.extend((0..1000).map(|at| quad(2, at * 10)));
        quads.extend((0..5).map(|at| quad(14, at * 10)));
        let runs = runs(&quads);
        assert_eq!(runs.iter().map(|run| run.quads.len()).sum::<usize>(), quads.len());
        assert!(runs.windows(2).all(|pair| pair[0].quads.end == pair[1].quads.start));
        let all = visible(&runs, &Rect::new(-100, -100, 20_000, 1000));
        let (small, large) = (Some(Encoding::Q4_0), Some(Encoding::Q6_K));
        assert_eq!(all, [(None, 0..2), (small, 2..1002), (large, 1002..1007)]);
        let few = visible(&runs, &Rect::new(5000, 0, 100, 5));
        let drawn = |at: u32| few.iter().any(|(_, quads)| quads.contains(&at));
        assert!(drawn(502) && drawn(512) && !drawn(2) && !drawn(1001) && !drawn(1002), "{few:?}");
        assert_eq!(visible(&runs, &Rect::new(0, 5000, 10, 10)), []);
    }
}

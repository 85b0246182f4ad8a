//! The colour of a token: how probable it was to the model.

use std::io::{self, IsTerminal};

/// Least probabilities, and the terminal's code for tokens that have them. The surest have the
/// terminal's own colour.
const SHADES: [(f32, &str); 4] = [
    // The surest first: the first that is reached gives the colour.
    (0.6, "\x1b[38;5;108m"),
    (0.3, "\x1b[38;5;179m"),
    (0.1, "\x1b[38;5;173m"),
    (0.0, "\x1b[38;5;167m"),
];

/// The least probability of a token that needs no colour.
const SURE: f32 = 0.9;

/// Whether answers can have colours: they go to a terminal that takes them, and nobody has set
/// NO_COLOR.
pub(crate) fn is_possible() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    wanted && !dumb && io::stdout().is_terminal()
}

/// The line under tokens that had been drafted.
const DRAFTED: &str = "\x1b[4m";

/// The codes for a token of this log-probability, drafted or not; none for the surest that were
/// drawn without a draft.
pub fn of(logprob: f32, drafted: bool) -> Option<String> {
    let probability = logprob.exp();
    let shade = SHADES.iter().find(|(least, _)| probability >= *least);
    let shade = shade.filter(|_| probability < SURE).map_or("", |(_, code)| *code);
    let line = if drafted { DRAFTED } else { "" };
    let codes = format!("{shade}{line}");
    (!codes.is_empty()).then_some(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_sure_the_redder() {
        assert_eq!(of(0.0, false), None);
        let codes = [0.7f32, 0.4, 0.2, 0.01, 0.0].map(|probability| of(probability.ln(), false));
        let expected = [0, 1, 2, 3, 3].map(|at| Some(SHADES[at].1.to_owned()));
        assert_eq!(codes, expected);
        assert_eq!(of(0.0, true).as_deref(), Some(DRAFTED));
        assert_eq!(of(-1.0, true), Some(format!("{}{DRAFTED}", SHADES[1].1)));
    }
}

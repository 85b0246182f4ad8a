//! What a step learns from.

/// Tokens of one example. Token `t` is predicted from those before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Token ids, at least two.
    pub tokens: Vec<u32>,
    /// Whether a token is a target, one for each token; the first never is.
    pub is_target: Vec<bool>,
    /// What each of its targets counts, 1 as a rule.
    pub weight: f32,
}

impl Sequence {
    /// A sequence whose targets are the tokens from `first` on.
    ///
    /// # Panics
    /// `first` is 0: nothing comes before the first token.
    pub fn from_first_target(tokens: Vec<u32>, first: usize) -> Self {
        assert!(first > 0, "the first token has nothing before it");
        let is_target = (0..tokens.len()).map(|token| token >= first).collect();
        Self { tokens, is_target, weight: 1.0 }
    }

    /// How many of its tokens are targets.
    pub fn targets(&self) -> usize {
        self.is_target.iter().filter(|&&is_target| is_target).count()
    }

    /// Columns of its passes: all tokens but the last, which predicts nothing.
    pub fn columns(&self) -> usize {
        self.tokens.len().saturating_sub(1)
    }
}

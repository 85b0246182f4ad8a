//! Models and vocabularies that are odd and used.

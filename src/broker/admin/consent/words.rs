//! The words that travel through browsers: random, with the connection's name beside it, so that nobody searches.

use crate::{
    domain::{names::ConnectionName, token::Secret},
    seal::WORD_LENGTH,
};

/// `{word}.{tenant}.{connection}`: fits a path and a query as it is.
pub(super) struct Token {
    pub(super) word: Secret,
    pub(super) name: ConnectionName,
}

impl Token {
    pub(super) fn text(&self) -> String {
        format!("{}.{}.{}", self.word.expose(), self.name.tenant.0, self.name.id)
    }

    /// `None` for what is none of ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (word, tenant, id) = (parts.next()?, parts.next()?, parts.next()?);
        let well_formed = word.len() == WORD_LENGTH
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && parts.next().is_none();
        let name = format!("tenants/{tenant}/connections/{id}").parse().ok().filter(|_| well_formed)?;
        Some(Self { word: Secret::new(word), name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_its_connection_and_nothing_else_does() {
        let token =
            Token { word: crate::seal::fresh_word(), name: "tenants/t-1/connections/c".parse().unwrap() };
        let text = token.text();
        let read = Token::parse(&text).unwrap();
        assert_eq!((read.word.expose(), &read.name), (token.word.expose(), &token.name));
        let word = token.word.expose();
        for wrong in [
            String::new(),
            word.to_owned(),
            format!("{word}.t"),
            format!("{word}.t.c.d"),
            format!("{word}..c"),
            format!("{word}.T.c"),
            format!("{word}.t/x.c"),
            format!("{word}a.t.c"),
            format!("{}.t.c", &word[1..]),
            format!("{}%.t.c", &word[1..]),
        ] {
            assert!(Token::parse(&wrong).is_none(), "{wrong}");
        }
    }
}

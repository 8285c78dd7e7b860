//! /ui: what the report says for now, and the fleet.

use std::sync::Arc;

use maud::html;

use super::{Answer, Page, Place, Ui, asked::Asked, trouble::Trouble, words};

pub(super) async fn show(_ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let words = words::front::words(asked.language);
    let main = html! {};
    Ok(Answer::Page(Page { place: Place::Front, title: words.title.to_owned(), main, live: None }))
}

//! A report as Markdown.

use super::view::View;

pub(super) fn render(view: &View) -> String {
    view.sentence.clone()
}

//! A report as one HTML file.

use super::view::View;

pub(super) fn render(view: &View) -> String {
    view.sentence.clone()
}

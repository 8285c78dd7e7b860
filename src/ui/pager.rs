//! Long lists in parts: [`ROWS`] rows a page, and links to the parts before and after.

use maud::{Markup, html};

use super::{asked::Asked, link::PARTS, trouble::Trouble, words};
use crate::{
    domain::RunId,
    journal::{Page, Part},
};

/// How many rows a page has.
pub(super) const ROWS: usize = 50;

impl Asked {
    /// Which part of a list of runs is asked for.
    pub(super) fn part(&self) -> Result<Part, Trouble> {
        let run = |name| {
            let text = self.parameter(name);
            text.map(|text| RunId::parse(text).map_err(|_| Trouble::Parameter(name))).transpose()
        };
        Ok(match (run("before")?, run("after")?) {
            (Some(run), _) => Part::Before(run),
            (None, Some(run)) => Part::After(run),
            (None, None) => Part::Newest,
        })
    }

    /// Which page of a list that has one row for each thing is asked for, from 1.
    pub(super) fn page(&self) -> Result<usize, Trouble> {
        let text = self.parameter("page").unwrap_or("1");
        text.parse().ok().filter(|page| *page > 0).ok_or(Trouble::Parameter("page"))
    }

    /// The address of another part of this list.
    fn at(&self, place: &str, value: &str) -> String {
        self.here_without(&PARTS, &[(place, value)])
    }
}

/// The rows of this page.
pub(super) fn rows<T>(all: &[T], page: usize) -> &[T] {
    let first = (page - 1).saturating_mul(ROWS).min(all.len());
    &all[first..all.len().min(first.saturating_add(ROWS))]
}

/// Links to the newer and the older part of a list of runs.
pub(super) fn of_runs<T, R: ToString>(
    asked: &Asked,
    page: &Page<T>,
    run: impl Fn(&T) -> R,
) -> Markup {
    let words = words::pager::words(asked.language);
    let link = |place: &str, item: Option<&T>| item.map(|it| asked.at(place, &run(it).to_string()));
    let newer = page.has_newer.then(|| link("after", page.items.first())).flatten();
    let older = page.has_older.then(|| link("before", page.items.last())).flatten();
    links([(newer, words.newer), (older, words.older)], None)
}

/// Links to the page before and the page after, of a list with so many rows.
pub(super) fn of_rows(asked: &Asked, page: usize, rows: usize) -> Markup {
    let words = words::pager::words(asked.language);
    let pages = rows.div_ceil(ROWS);
    let link = |page: usize| asked.at("page", &page.to_string());
    let before = (page > 1).then(|| link((page - 1).min(pages.max(1))));
    let after = (page < pages).then(|| link(page + 1));
    let place = (pages > 1).then(|| words.place(page, pages));
    links([(before, words.before), (after, words.after)], place)
}

fn links(
    [(before, before_word), (after, after_word)]: [(Option<String>, &str); 2],
    place: Option<String>,
) -> Markup {
    html! {
        @if before.is_some() || after.is_some() {
            p.pages {
                @if let Some(before) = before { a rel="prev" href=(before) { (before_word) } }
                @if let Some(place) = place { span { (place) } }
                @if let Some(after) = after { a rel="next" href=(after) { (after_word) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;
    use crate::domain::Language;

    fn asked(address: &str) -> Asked {
        let address = address.parse().unwrap();
        Asked::of(&address, Vec::new(), &HeaderMap::new(), Language::English).0
    }

    #[test]
    fn a_link_to_another_part_keeps_the_other_parameters_and_forgets_the_part_before() {
        let (first, last) = (RunId::new(), RunId::new());
        let asked = asked(&format!("/ui/runs?lang=en&before={first}&tool=a%26b"));
        assert_eq!(asked.part().unwrap(), Part::Before(first));
        let page = Page { items: vec![first, last], has_newer: true, has_older: true };
        let links = of_runs(&asked, &page, |run| *run).into_string();
        let newer =
            format!("rel=\"prev\" href=\"/ui/runs?lang=en&amp;tool=a%26b&amp;after={first}\"");
        let older =
            format!("rel=\"next\" href=\"/ui/runs?lang=en&amp;tool=a%26b&amp;before={last}\"");
        assert!(links.contains(&newer) && links.contains(&older), "{links}");
    }

    #[test]
    fn a_list_that_fits_on_a_page_has_no_links() {
        let page = Page { items: vec![RunId::new()], has_newer: false, has_older: false };
        assert_eq!(of_runs(&asked("/ui/runs"), &page, |run| *run).into_string(), "");
        assert_eq!(of_rows(&asked("/ui/personas"), 1, ROWS).into_string(), "");
    }

    #[test]
    fn pages_go_from_the_first_to_the_last_and_one_beyond_leads_back() {
        let shown = |page: usize| of_rows(&asked("/ui/personas"), page, 2 * ROWS + 1).into_string();
        assert!(!shown(1).contains("rel=\"prev\"") && shown(1).contains("?page=2"));
        assert!(shown(2).contains("?page=1") && shown(2).contains("?page=3"));
        assert!(shown(3).contains("?page=2") && !shown(3).contains("rel=\"next\""));
        assert!(
            shown(usize::MAX).contains("?page=3") && !shown(usize::MAX).contains("rel=\"next\"")
        );
        assert_eq!(rows(&[0; 120], 3).len(), 20);
        assert_eq!(rows(&[0; 120], usize::MAX).len(), 0);
    }

    #[test]
    fn a_part_that_cannot_be_read_is_named() {
        for (address, name) in [("/ui?before=x", "before"), ("/ui?after=x", "after")] {
            assert!(matches!(asked(address).part(), Err(Trouble::Parameter(it)) if it == name));
        }
        for page in ["0", "x", "-1"] {
            let asked = asked(&format!("/ui?page={page}"));
            assert!(matches!(asked.page(), Err(Trouble::Parameter("page"))));
        }
    }
}

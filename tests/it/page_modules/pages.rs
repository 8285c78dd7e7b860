//! Reads pages as a browser without a script does.

use reqwest::{Client, StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::support::{World, client, patiently};

pub(super) struct Reader {
    client: Client,
    url: String,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Reader {
    pub(super) fn of(world: &World) -> Self {
        Self { client: client(), url: world.url.clone() }
    }

    /// The answer to a GET. A page whose overview is not computed yet is requested again.
    pub(super) async fn get(&self, path: &str) -> Answer {
        patiently(path, async {
            loop {
                let request = self.client.get(format!("{}{path}", self.url));
                let response = request.send().await.unwrap();
                let (status, headers) = (response.status(), response.headers().clone());
                let text = response.text().await.unwrap();
                if status != StatusCode::SERVICE_UNAVAILABLE {
                    break Answer { status, headers, text };
                }
            }
        })
        .await
    }

    /// A page that is there.
    pub(super) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.text
    }

    pub(super) async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.page(path).await).unwrap()
    }

    /// The ratings of a page and of all older parts of its list.
    pub(super) async fn all_items(&self, path: &str) -> Vec<String> {
        let (mut items, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let page = self.page(&path).await;
            let of_page = page.split("<li class=\"turn\" data-item>").skip(1);
            items.extend(of_page.map(|it| it.split("</li>").next().unwrap().to_owned()));
            let link = page.split("rel=\"next\" href=\"").nth(1);
            next = link.map(|link| link.split('"').next().unwrap().replace("&amp;", "&"));
        }
        items
    }
}

/// The addresses of all links.
pub(super) fn hrefs(page: &str) -> Vec<String> {
    let links = page.split("<a ").skip(1).filter_map(|link| link.split('>').next());
    let addresses = links.filter_map(|link| link.split("href=\"").nth(1)?.split('"').next());
    addresses.map(|address| address.replace("&amp;", "&")).collect()
}

/// What stands within the elements with this name, as it is written.
pub(super) fn texts_of(page: &str, element: &str) -> Vec<String> {
    let begin = format!("<{element}>");
    let begins = page.split(&begin).skip(1);
    let ends = format!("</{element}>");
    begins.map(|rest| rest.split(&ends).next().unwrap().to_owned()).collect()
}

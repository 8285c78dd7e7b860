//! Builds of the product.

use super::*;

#[tokio::test]
async fn a_version_is_a_new_deployment_unless_it_is_that_of_the_newest() {
    let journal = Journal::in_memory().await.unwrap();
    assert_eq!(journal.current_deployment().await.unwrap(), None);
    let mut numbers = Vec::new();
    for (n, version) in (0..).zip(["1", "1", "2", "1"]) {
        let met = journal.meet_deployment(version, DeploymentSource::Url, at(n)).await.unwrap();
        assert_eq!(journal.current_deployment().await.unwrap(), met);
        let met = met.unwrap();
        numbers.push((met.id(), met.first_at));
    }
    let expected = [("D-1", 0), ("D-1", 0), ("D-2", 2), ("D-3", 3)];
    assert_eq!(numbers, expected.map(|(id, met)| (id.to_owned(), Some(at(met)))));
    assert!(!journal.has_releases().await.unwrap());
}

#[tokio::test]
async fn a_release_counts_from_when_it_is_met_and_releases_are_met_in_their_order() {
    let journal = Journal::in_memory().await.unwrap();
    assert_eq!(journal.adopt_releases(at(0)).await.unwrap(), None);
    journal.meet_deployment("0", DeploymentSource::Env, at(0)).await.unwrap();
    let first = journal.release("1", Some("<script>")).await.unwrap();
    assert_eq!((first.id().as_str(), first.first_at), ("D-2", None));
    assert_eq!(journal.release("1", None).await.unwrap(), first, "nothing changes");
    journal.release("2", None).await.unwrap();
    assert_eq!(journal.current_deployment().await.unwrap().unwrap().version, "0");
    assert!(journal.has_releases().await.unwrap());
    let adopted = journal.adopt_releases(at(5)).await.unwrap();
    assert_eq!(adopted, journal.current_deployment().await.unwrap());
    assert_eq!(adopted.unwrap().version, "2");
    assert_eq!(journal.adopt_releases(at(6)).await.unwrap(), None);
    let deployments = lines_of(&journal, |line| match line {
        Line::Deployment(deployment) => Some((deployment.id, deployment.at)),
        _ => None,
    });
    let expected = [("D-1", 0), ("D-2", 5), ("D-3", 5)];
    assert_eq!(deployments.await, expected.map(|(id, met)| (id.to_owned(), at(met))));
}

#[tokio::test]
async fn once_there_is_a_release_nothing_else_is_added_and_the_release_is_current_only_when_it_is_met()
 {
    for before in [None, Some("0")] {
        let journal = Journal::in_memory().await.unwrap();
        let meet = async |version, n| {
            journal.meet_deployment(version, DeploymentSource::Url, at(n)).await.unwrap()
        };
        let version = |met: Option<DeploymentRow>| met.map(|met| met.version);
        if let Some(before) = before {
            meet(before, 0).await;
        }
        journal.release("1", None).await.unwrap();
        // The answer to a question that was asked before the release.
        for told in ["0", "1", "2"] {
            assert_eq!(version(meet(told, 1).await).as_deref(), before, "{told}");
        }
        journal.adopt_releases(at(2)).await.unwrap();
        assert_eq!(version(meet("2", 3).await).as_deref(), Some("1"));
    }
}

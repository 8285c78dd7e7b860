mod lived;
#[tokio::test]
async fn a_comparison_blames_a_deployment_for_what_it_changed_and_for_nothing_else() {
    let s = std::time::Instant::now();
    let lived = lived::live().await;
    eprintln!("{:?} {} runs", s.elapsed(), lived.runs.len());
    eprintln!("{:?} {}\n{}", lived.changed.code, lived.changed.stderr, lived.changed.text);
    eprintln!("{:#}", lived.changed.json["findings"][0]);
    let back = lived.compare(&[]).await;
    eprintln!("{:?} {}\n{}", back.code, back.stderr, back.text);
    let un = lived.compare(&["D-1", "D-3"]).await;
    eprintln!("{:?} {}\n{}", un.code, un.stderr, un.text);
    std::fs::write("/tmp/s-agent-export.jsonl", lived.ask(&["export"]).await.stdout).unwrap();
    std::fs::write("/tmp/s-agent-changed.json", lived.changed.json.to_string()).unwrap();
}

//! The page at `/` and what it reads.

use super::*;

#[tokio::test]
async fn the_page_may_run_its_own_scripts_and_nothing_else() {
    let server = start("", vec![]).await;
    for (path, kind) in [("/", "text/html"), ("/page/page.js", "text/javascript"), ("/page/page.css", "text/css")] {
        let (status, answer) = server.status(path).await;
        assert!(status == 200 && answer.contains(&format!("content-type: {kind}; charset=utf-8")), "{path}: {answer}");
        let policies = answer.matches("content-security-policy: ").count();
        assert_eq!(policies, 1, "{path}: {answer}");
        assert_eq!(answer.contains("script-src 'self'"), path == "/", "{path}: {answer}");
        assert!(!answer.contains("unsafe-inline") || path != "/", "{answer}");
    }
    assert!(!server.ask("/targets", "").await.contains("script-src"), "other pages run no script");
    assert_eq!(server.status("/page/../config").await.0, 404);
}

#[tokio::test]
async fn the_page_gets_its_numbers_as_json() {
    let server = start("", vec![file(None), file(Some("permission denied"))]).await;
    for (path, key) in [
        ("/api/overview", "\"uptime_seconds\":"),
        ("/api/targets", "\"file\":\"/var/log/a.log\""),
        ("/api/targets?q=a.log&state=error&sort=last_line&page=7&size=10", "\"matching\":1"),
    ] {
        let (status, answer) = server.status(path).await;
        assert!(status == 200 && answer.contains("content-type: application/json"), "{path}: {answer}");
        assert!(answer.contains(key) && answer.contains("no-store"), "{path}: {answer}");
    }
    assert_eq!(server.status("/api/targets?state=unheard-of").await.0, 400);
}

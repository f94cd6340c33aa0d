//! docs/connect.md, and the README's tour, as somebody follows them: every command of their `console` blocks runs, in
//! order and in one shell, against a real `bursar dev`, and answers what the page says. An ellipsis stands for anything.

use crate::support::{
    AT_MOST,
    process::{self, Broker, told_url},
};
use std::{path::Path, process::Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// In front of each command's answer, with its number.
const MARK: &str = "@@ answer ";

/// One command and the lines that the page shows after it.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    answer: Vec<String>,
}

#[tokio::test]
async fn every_command_of_the_page_does_what_the_page_says() {
    is_true("docs/connect.md", 25).await;
}

#[tokio::test]
async fn the_tour_of_the_readme_shows_what_happens() {
    is_true("README.md", 8).await;
}

/// A page with more commands than so many.
async fn is_true(page: &str, least: usize) {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::dev(&folder.path().join("data")).await;
    let steps = steps(&std::fs::read_to_string(Path::new(ROOT).join(page)).unwrap());
    assert!(steps.len() > least, "{page} has {} commands", steps.len());
    let ports = ports(&broker);
    let output = followed(&steps, &broker, &ports, folder.path()).await;
    let mut wrong = Vec::new();
    let mut answers = output.split(MARK).skip(1);
    for (number, step) in steps.iter().enumerate() {
        let answer = answers.next().unwrap_or_else(|| panic!("{}: did not run\n{output}", step.command));
        let (index, answer) = answer.split_once('\n').unwrap();
        assert_eq!(index, number.to_string());
        let answer: Vec<&str> = answer.trim_end().lines().map(str::trim_end).collect();
        let want: Vec<String> = step.answer.iter().map(|line| at_real_ports(line, &ports)).collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        if !lines_match(&want, &answer) {
            wrong.push(format!(
                "$ {}\nthe page:\n{}\nin fact:\n{}",
                step.command,
                want.join("\n"),
                answer.join("\n")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Each address as the pages have it, with the ports that `bursar dev` takes unless told otherwise, and as it is here.
type Ports = [(&'static str, String); 4];

fn ports(broker: &Broker) -> Ports {
    let said = broker.said();
    let control = |title: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(title)).unwrap();
        line.rsplit_once("control: http://").unwrap().1.trim_end_matches(')').to_owned()
    };
    let address = |title: &str| told_url(&said, title).trim_start_matches("http://").to_owned();
    [
        ("127.0.0.1:7619", control("SAP Concur")),
        ("127.0.0.1:7629", control("OAuth 2.0")),
        ("127.0.0.1:7610", address("SAP Concur")),
        ("127.0.0.1:7620", address("OAuth 2.0")),
    ]
}

fn at_real_ports(text: &str, ports: &Ports) -> String {
    ports.iter().fold(text.to_owned(), |text, (page, real)| text.replace(page, real))
}

/// The page in one shell: what it printed, errors among the answers, and how each command ended unless well.
async fn followed(steps: &[Step], broker: &Broker, ports: &Ports, folder: &Path) -> String {
    let mut script = String::from("cd work\n");
    for (number, step) in steps.iter().enumerate() {
        let command = at_real_ports(&step.command, ports);
        let lines = [
            format!("printf '\\n{MARK}%s\\n' {number}"),
            format!("{{ {command}"),
            "} 2>&1; ended=$?; [ $ended = 0 ] || echo \"exit $ended\"".to_owned(),
        ];
        script += &(lines.join("\n") + "\n");
    }
    std::fs::create_dir(folder.join("work")).unwrap();
    std::fs::create_dir(folder.join("bin")).unwrap();
    std::os::unix::fs::symlink(process::PROGRAM, folder.join("bin").join("bursar")).unwrap();
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let mut shell = tokio::process::Command::new("bash");
    shell.args(["-c", &script]).current_dir(folder).env("PATH", path).stdin(Stdio::null());
    shell.env("BURSAR_ENDPOINT", format!("http://{}", broker.address())).kill_on_drop(true);
    let output =
        tokio::time::timeout(AT_MOST * 4, shell.output()).await.expect("the page did not end").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("command not found"), "install bash, curl 7.82 or newer, and jq:\n{text}");
    text
}

/// Commands begin with `$ `, and go on in the next line after a `|`; what follows up to the next one is the answer.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut indent = None;
    for line in page.lines() {
        let bare = line.trim_start();
        match indent {
            None if bare == "```console" => indent = Some(line.len() - bare.len()),
            None => {}
            Some(_) if bare == "```" => indent = None,
            Some(width) => {
                let line = line.get(width..).unwrap_or_default();
                match (line.strip_prefix("$ "), steps.last_mut()) {
                    (Some(command), _) => steps.push(Step { command: command.into(), answer: Vec::new() }),
                    (None, Some(step)) if step.answer.is_empty() && step.command.ends_with('|') => {
                        step.command.push('\n');
                        step.command.push_str(line);
                    }
                    (None, Some(step)) => step.answer.push(line.to_owned()),
                    (None, None) => panic!("a block begins with its answer: {line}"),
                }
            }
        }
    }
    steps
}

/// A line that is an ellipsis alone stands for any lines, none among them.
fn lines_match(page: &[&str], real: &[&str]) -> bool {
    match page {
        [] => real.is_empty(),
        ["…", rest @ ..] => (0..=real.len()).any(|skipped| lines_match(rest, &real[skipped..])),
        [line, rest @ ..] => {
            real.first().is_some_and(|first| line_matches(line, first)) && lines_match(rest, &real[1..])
        }
    }
}

/// An ellipsis within a line stands for any text.
fn line_matches(page: &str, real: &str) -> bool {
    match page.split_once('…') {
        None => page == real,
        Some((before, after)) => real.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| line_matches(after, &rest[at..]))
        }),
    }
}

#[test]
fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
    assert!(lines_match(&["a …", "…", "z"], &["a 1", "b", "c", "z"]));
    assert!(lines_match(&["…"], &[]));
    assert!(lines_match(&["a … c …", "z"], &["a b c d", "z"]));
    assert!(!lines_match(&["a"], &["a", "b"]));
    assert!(!lines_match(&["a", "b"], &["a"]));
    assert!(!lines_match(&["a …", "z"], &["b 1", "z"]));
    assert!(!lines_match(&["a … c"], &["a b d"]));
    let page = "text\n\n   ```console\n   $ one\n   1\n   $ two |\n     three\n   3\n   $ four\n   ```\n```sh\n$ not this\n```\n";
    let want = [
        Step { command: "one".into(), answer: vec!["1".into()] },
        Step { command: "two |\n  three".into(), answer: vec!["3".into()] },
        Step { command: "four".into(), answer: Vec::new() },
    ];
    assert_eq!(steps(page), want);
}

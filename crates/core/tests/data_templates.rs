//! Chat templates render what `transformers` renders, byte for byte.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};

use halo_core::tokenizer::{Extras, Message, Tokenizer};
use serde_json::{Map, Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures")
}

fn read(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixtures().join(path)).unwrap()).unwrap()
}

/// The byte-level tokenizer with another configuration, in a folder of this name.
fn folder(name: &str, config: &Value) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("templates-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(
        fixtures().join("tokenizers/byte-level/tokenizer.json"),
        folder.join("tokenizer.json"),
    )
    .unwrap();
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    folder
}

fn with_template(name: &str, template: &str) -> Tokenizer {
    let config =
        json!({"chat_template": template, "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"});
    Tokenizer::load(folder(name, &config)).unwrap()
}

fn messages(value: &Value) -> Vec<Message> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn every_template_renders_as_transformers_renders_it() {
    let file = read("templates.json");
    let mut failures = Vec::new();
    for (name, template) in file["templates"].as_object().unwrap() {
        let tokenizer = with_template(name, template.as_str().unwrap());
        for case in file["cases"].as_array().unwrap() {
            if case["template"] != name.as_str() {
                continue;
            }
            let extras = Extras {
                add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
                tools: Some(&case["tools"]).filter(|tools| !tools.is_null()),
                variables: case["variables"].as_object(),
            };
            let ours = tokenizer.render(&messages(&case["messages"]), &extras);
            match (&case["text"], &case["error"], ours) {
                (Value::String(theirs), _, Ok(ours)) if *theirs == ours => {}
                // The words of an error are the template's only where it raises one itself.
                (Value::Null, Value::String(theirs), Err(ours)) => {
                    assert!(ours.is_data(), "{ours}");
                    let raised =
                        theirs.starts_with("After the") || theirs.starts_with("This model");
                    assert!(!raised || ours.to_string().contains(theirs), "{ours}");
                }
                (text, error, ours) => {
                    failures.push(format!("{}: {ours:?}\n  not {text} {error}", case["name"]));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn templates_are_found_where_transformers_finds_them() {
    let user = messages(&json!([{"role": "user", "content": "hi"}]));
    let render = |folder: &Path, tools: Option<&Value>| {
        let extras = Extras {
            tools,
            ..Extras::default()
        };
        Tokenizer::load(folder)
            .unwrap()
            .render(&user, &extras)
            .unwrap()
    };
    let named = json!({"eos_token": "<|im_end|>", "chat_template": [
        {"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]});
    let folder = folder("found", &named);
    let tools = json!([{"name": "t"}]);
    assert_eq!(render(&folder, None), "plain");
    assert_eq!(render(&folder, Some(&tools)), "tools");
    // A file comes before the configuration.
    std::fs::write(folder.join("chat_template.jinja"), "file {{ eos_token }}\n").unwrap();
    assert_eq!(render(&folder, None), "file <|im_end|>");
}

#[test]
fn a_template_that_does_not_compile_is_named_with_its_line() {
    let broken = folder("broken", &json!({"chat_template": "a\n{% if %}"}));
    let error = Tokenizer::load(&broken).unwrap_err();
    assert!(error.is_model());
    let text = error.to_string();
    assert!(
        text.contains("tokenizer_config.json: chat_template: the chat template does not compile: "),
        "{text}"
    );
    assert!(text.ends_with("(template line 2)"), "{text}");
}

#[test]
fn a_missing_template_is_an_error_that_says_so() {
    let tokenizer =
        Tokenizer::load(folder("missing", &json!({"eos_token": "<|im_end|>"}))).unwrap();
    let error = tokenizer
        .render(&[Map::new()], &Extras::default())
        .unwrap_err();
    assert!(error.is_data());
    assert_eq!(
        error.to_string(),
        "the data is conversational, but the model folder has no chat template (chat_template in tokenizer_config.json, \
         or chat_template.jinja); add one, or give prompt and completion as text"
    );
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let endless = "{% for a in range(90000) %}{% for b in range(90000) %}{% for c in range(90000) %}{% endfor %}{% endfor %}{% endfor %}";
    let error = with_template("endless", endless)
        .render(&[Map::new()], &Extras::default())
        .unwrap_err();
    assert!(error.to_string().contains("fuel"), "{error}");
}

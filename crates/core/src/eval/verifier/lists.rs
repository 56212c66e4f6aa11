//! The demo's domain: requests for short lists, such as "Name a fruit, a tool and an animal."
//!
//! An answer is acceptable when it names one thing of every kind that was asked for, in any order, and nothing else. The kinds are closed lists, so a table knows the truth. `cargo xtask demo-data` writes its corpus from
//! the same table, which is why this file uses nothing but the standard library.

/// A kind of thing, and the things that are of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Category {
    /// As in "a fruit".
    pub name: &'static str,
    /// Single words; no word stands in two categories.
    pub members: [&'static str; 12],
}

/// Every kind of thing that can be asked for.
#[rustfmt::skip]
pub const CATEGORIES: [Category; 10] = [
    Category { name: "fruit", members: ["apple", "banana", "cherry", "fig", "grape", "lemon", "mango", "melon", "peach", "pear", "plum", "quince"] },
    Category { name: "animal", members: ["badger", "bear", "camel", "cow", "deer", "dog", "fox", "goat", "horse", "lion", "sheep", "wolf"] },
    Category { name: "vegetable", members: ["bean", "cabbage", "carrot", "celery", "garlic", "leek", "lettuce", "onion", "pea", "potato", "spinach", "turnip"] },
    Category { name: "colour", members: ["black", "blue", "brown", "crimson", "green", "grey", "pink", "purple", "red", "violet", "white", "yellow"] },
    Category { name: "tool", members: ["axe", "chisel", "drill", "file", "hammer", "pliers", "rake", "saw", "screwdriver", "shovel", "spade", "spanner"] },
    Category { name: "instrument", members: ["banjo", "cello", "clarinet", "drum", "fiddle", "flute", "guitar", "harp", "oboe", "piano", "trumpet", "viola"] },
    Category { name: "drink", members: ["beer", "cider", "cocoa", "coffee", "juice", "lemonade", "milk", "rum", "tea", "water", "whisky", "wine"] },
    Category { name: "job", members: ["baker", "barber", "butcher", "carpenter", "clerk", "doctor", "farmer", "nurse", "painter", "pilot", "tailor", "teacher"] },
    Category { name: "garment", members: ["belt", "boot", "coat", "dress", "glove", "hat", "jacket", "scarf", "shirt", "shoe", "skirt", "sock"] },
    Category { name: "country", members: ["Brazil", "Canada", "Chile", "China", "Egypt", "France", "Greece", "India", "Italy", "Japan", "Kenya", "Norway"] },
];

/// How a request may begin.
pub const OPENINGS: [&str; 6] = [
    "Name",
    "List",
    "Give me",
    "Tell me",
    "Think of",
    "Write down",
];

/// What is asked for: one thing of every kind here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request(pub Vec<&'static Category>);

impl Request {
    /// Reads a prompt; `None` if it is no request for a list.
    pub fn parse(prompt: &str) -> Option<Request> {
        let wanted = prompt.trim().strip_suffix('.')?;
        let wanted = OPENINGS
            .iter()
            .find_map(|opening| wanted.strip_prefix(opening)?.strip_prefix(' '))?;
        let categories = items(wanted)?.into_iter().map(|part| {
            let (article, name) = part.split_once(' ')?;
            let category = CATEGORIES.iter().find(|c| c.name == name)?;
            ["a", "an"].contains(&article).then_some(category)
        });
        categories.collect::<Option<Vec<_>>>().map(Request)
    }

    /// The request in English, after an opening: "a fruit, a tool and an animal".
    pub fn wording(&self) -> String {
        let parts = self.0.iter().map(|category| {
            let vowel = category.name.starts_with(['a', 'e', 'i', 'o', 'u']);
            let article = if vowel { "an" } else { "a" };
            format!("{article} {}", category.name)
        });
        join(&parts.collect::<Vec<_>>())
    }

    /// Whether an answer names what was asked for, each thing once, and nothing else.
    pub fn is_met_by(&self, answer: &str) -> bool {
        let Some(named) = items(answer.trim()) else {
            return false;
        };
        let repeats = (1..named.len()).any(|i| named[..i].contains(&named[i]));
        let mut open = self.0.clone();
        let fits = named.iter().all(|word| {
            let place = open.iter().position(|c| c.members.contains(word));
            place.map(|place| open.remove(place)).is_some()
        });
        fits && !repeats && open.is_empty()
    }
}

/// "a", "a and b", "a, b and c".
pub fn join<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// The reverse of [`join`]; `None` for a text that is not punctuated so.
fn items(text: &str) -> Option<Vec<&str>> {
    let (rest, last) = match text.rsplit_once(" and ") {
        Some((rest, last)) => (Some(rest), last),
        None => (None, text),
    };
    let mut items: Vec<&str> = rest.into_iter().flat_map(|r| r.split(", ")).collect();
    items.push(last);
    let whole = |item: &&str| !item.is_empty() && !item.contains(',') && !item.contains(" and ");
    items.iter().all(whole).then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(prompt: &str, answer: &str) -> bool {
        Request::parse(prompt).unwrap().is_met_by(answer)
    }

    #[test]
    fn the_right_things_in_any_order_are_acceptable() {
        let prompt = "Name a fruit, a tool and an animal.";
        assert!(met(prompt, "pear, saw and cow"));
        assert!(met(prompt, "cow, saw and pear"));
        assert!(met("Think of a colour.", "red"));
        assert!(met("Give me a job and a job.", "nurse and pilot"));
    }

    #[test]
    fn wrong_missing_repeated_and_superfluous_things_are_not() {
        let prompt = "Name a fruit, a tool and a fruit.";
        for answer in [
            "",
            "no idea",
            "pear",
            "pear and saw",
            "pear, saw and pear",
            "pear, saw and cow",
            "pear, saw and axe",
            "pear, saw, fig and plum",
            "pear saw plum",
            "pear, saw, plum",
            "pear,, saw and plum",
            "pear and saw and plum",
            "pear, Saw and plum",
        ] {
            assert!(!met(prompt, answer), "{answer}");
        }
    }

    #[test]
    fn other_prompts_are_no_requests() {
        for prompt in [
            "",
            "Name.",
            "Name a fruit",
            "Name a fruits.",
            "Name fruit.",
            "Name two fruits.",
            "Namea fruit.",
            "Who are you?",
            "Name a fruit, a tool.",
        ] {
            assert_eq!(Request::parse(prompt), None, "{prompt}");
        }
    }

    #[test]
    fn a_request_and_its_wording_are_inverse() {
        for (first, second) in CATEGORIES.iter().zip(CATEGORIES.iter().rev()) {
            for categories in [vec![first], vec![first, second], vec![first, second, first]] {
                let request = Request(categories);
                let prompt = format!("Write down {}.", request.wording());
                assert_eq!(Request::parse(&prompt), Some(request));
            }
        }
    }

    #[test]
    fn no_word_stands_in_two_categories() {
        let mut words: Vec<_> = CATEGORIES.iter().flat_map(|c| c.members).collect();
        words.extend(CATEGORIES.iter().map(|c| c.name));
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
    }
}

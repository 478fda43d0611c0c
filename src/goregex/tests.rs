//! Tables of patterns and the texts they match in Go.

use proptest::prelude::*;

use super::*;

/// Texts that match as a whole, and texts that do not.
#[track_caller]
fn check(pattern: &str, matches: &[&str], others: &[&str]) {
    let regex = Regex::anchored(pattern).unwrap_or_else(|e| panic!("{e}"));
    for text in matches {
        assert!(regex.is_match(text), "{pattern} should match {text:?}");
    }
    for text in others {
        assert!(!regex.is_match(text), "{pattern} should not match {text:?}");
    }
}

#[test]
fn refused_with_the_reason() {
    for (pattern, reason) in [
        // Not supported by RE2.
        ("a(?=b)", "look-ahead, of which Go's RE2 has none"),
        ("a(?!b)", "look-ahead, of which Go's RE2 has none"),
        ("(?<=a)b", "look-behind, of which Go's RE2 has none"),
        ("(?<!a)b", "look-behind, of which Go's RE2 has none"),
        (r"(a)\1", r"\1 is a back-reference, of which Go's RE2 has none"),
        (r"(a)\9", r"\9 is a back-reference"),
        (r"(?P<n>a)\k<n>", r"\k is a back-reference"),
        ("(?P<n>a)(?P=n)", "back-references, of which Go's RE2 has none"),
        ("(?>a)", "atomic groups, of which Go's RE2 has none"),
        ("a++", "no possessive repetition"),
        ("a*+", "no possessive repetition"),
        ("a?+", "no possessive repetition"),
        ("a{2}+", "no possessive repetition"),
        // Repetitions.
        ("a**", "* repeats a repetition"),
        ("a*??", "? repeats a repetition"),
        ("a{2}{3}", "{3} repeats a repetition"),
        ("*", "nothing stands before * to repeat"),
        ("a|*", "nothing stands before * to repeat"),
        ("a(?i)*", "nothing stands before * to repeat"),
        ("(+)", "nothing stands before + to repeat"),
        ("{2}", "nothing stands before {2} to repeat"),
        ("a{1001}", "repetition {1001}: expected at most 1000"),
        ("a{99999999999}", "expected at most 1000"),
        ("a{1,99999999999}", "expected at most 1000"),
        ("a{3,2}", "the smaller number first"),
        // Groups and flags.
        ("(?P<a>[0-9", "a class is not closed"),
        ("(a", "a group is not closed"),
        ("a)", "a ) closes no group"),
        ("(?P<a", "a group's name is not closed"),
        ("(?P<>a)", "group name \"\""),
        ("(?P<a-b>a)", "group name \"a-b\""),
        ("(?P<\u{e9}>a)", "group name"),
        ("(?x)a", "the flags i, m, s, U"),
        ("(?u)a", "the flags i, m, s, U"),
        ("(?-u:a)", "the flags i, m, s, U"),
        ("(?i-)a", "the flags i, m, s, U"),
        ("(?i", "the flags i, m, s, U"),
        ("(?#comment)", "the flags i, m, s, U"),
        // Escapes.
        ("a\\", "it ends with a single \\"),
        (r"[a\", "it ends with a single \\"),
        (r"\C", r"no \C here"),
        (r"\Z", r"the end of the text is \z"),
        (r"\h", r"no \h here"),
        (r"\R", r"no \R here"),
        (r"\u0041", r"no \u here"),
        (r"a\Eb", r"no \E here"),
        ("\\\u{e9}", "here"),
        (r"\x4", "two hexadecimal digits"),
        (r"\xg0", "two hexadecimal digits"),
        (r"\x{}", "two hexadecimal digits"),
        (r"\x{110000}", "two hexadecimal digits"),
        (r"\x{41", "two hexadecimal digits"),
        ("\\x\u{e9}", "two hexadecimal digits"),
        (r"\p", "class of Unicode"),
        (r"\p{", "class of Unicode"),
        (r"\p{}", "class of Unicode"),
        ("\\p\u{e9}", "class of Unicode"),
        (r"\p{Grek}x{Klingon}\p{Klingon}", "property"),
        // Classes.
        ("[a", "a class is not closed"),
        ("[]", "a class is not closed"),
        ("[^]", "a class is not closed"),
        ("[a-", "a class is not closed"),
        ("[z-a]", "range z-a runs backwards"),
        ("[a--b]", "range a-- runs backwards"),
        (r"[a-\d]", r"no \d here"),
        (r"[\b]", r"no \b here"),
        (r"[\Qa\E]", r"no \Q here"),
        ("[[:alhpa:]]", "there is no class [:alhpa:]; there are alnum, alpha,"),
    ] {
        for result in [Regex::new(pattern), Regex::anchored(pattern)] {
            let error = result.expect_err(pattern).to_string();
            assert!(error.starts_with(&format!("invalid regular expression `{pattern}`: ")), "{error}");
            assert!(error.contains(reason), "{pattern}: expected {reason:?} in {error:?}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}

#[test]
fn what_would_be_too_large_or_too_deep_is_refused() {
    let large = Regex::new(r"((\pL{500}){500}){500}").expect_err("large").to_string();
    assert!(large.contains("larger than 10 MiB"), "{large}");
    let deep = format!("{}{}", "(".repeat(10_000), ")".repeat(10_000));
    let error = Regex::new(&deep).expect_err("deep").to_string();
    assert!(error.contains("nested"), "{}", &error[20_000..]);
}

#[test]
fn perl_classes_are_ascii() {
    check(r"\d+", &["0123456789"], &["٣", "a", ""]);
    check(r"\D", &["٣", "a", "\n", "é"], &["7"]);
    check(r"\w+", &["azAZ09_"], &["é", "-", "٣"]);
    check(r"\W", &["é", "-", "٣", "\n"], &["a", "_", "0"]);
    check(r"\s+", &["\t\n\u{c}\r "], &["\u{b}", "\u{a0}", "\u{85}"]);
    check(r"\S", &["\u{b}", "\u{a0}", "a"], &[" ", "\n"]);
    check(r"[\d.]+", &["1.2"], &["٣", "d"]);
    check(r"[^\d]", &["٣", "d", "\n"], &["1"]);
    check(r"[\D1]", &["٣", "d", "1"], &["2"]);
    check(r"[^\W_]+", &["a0"], &["_", "é", "-"]);
    check(r"[^\S\n]", &[" ", "\t"], &["\n", "a", "\u{b}"]);
    check(r"[\s\S]+", &["a\u{b} \né"], &[""]);
}

#[test]
fn word_boundaries_are_ascii() {
    let find = |pattern: &str, text: &str| {
        let regex = Regex::new(pattern).expect(pattern);
        regex.inner().find(text).map(|m| m.start())
    };
    assert_eq!(find(r"\bx", "éx"), Some(2));
    assert_eq!(find(r"\bx", "ax"), None);
    assert_eq!(find(r"\Bx", "éx"), None);
    assert_eq!(find(r"\Bx", "ax"), Some(1));
    assert_eq!(find(r"\b{start}", "a {start} a{start}"), Some(11), "the brace is plain");
    assert_eq!(find(r"(?:^|\B)é", "é"), Some(0));
    assert_eq!(find(r"\b+a", "-a"), Some(1));
}

#[test]
fn a_bracket_in_a_class_is_plain() {
    check(r"[^[\]]+", &["abc"], &["a[", "a]"]);
    check("[^[]+", &["abc]"], &["a["]);
    check("[[]", &["["], &["]"]);
    check("[]a]+", &["]a"], &["["]);
    check("[^]a]", &["["], &["]", "a"]);
    check("[[a]]", &["[]", "a]"], &["a", "["]);
    check("[[:]+", &["[:"], &["]"]);
    check("[a^]+", &["a^"], &["b"]);
    check("[.*+?(){}|$#]+", &[".*+?(){}|$#"], &["a"]);
}

#[test]
fn there_are_no_set_operations() {
    check("[a&&b]+", &["a&b"], &["c"]);
    check("[a-z&&[aeiou]]+", &["q]]", "&]", "[]"], &["q", "]"]);
    check("[!--b]+", &["!,-b"], &["a"]);
    check("[+--]+", &["+,-"], &["."]);
    check("[a~~b]+", &["a~b"], &["c"]);
    check("[a||b]+", &["a|b"], &["c"]);
}

#[test]
fn a_dash_in_a_class_is_plain_where_it_makes_no_range() {
    check(r"[\w-.]+", &["a-.", "_"], &["/", "é"]);
    check(r"[\w-\.]+", &["a-."], &["/"]);
    check(r"[0-9a-z-.]+", &["cart-1.x"], &["A", "/"]);
    check("[a-c-e]+", &["abc-e"], &["d"]);
    check("[-a]+", &["-a"], &["b"]);
    check("[a-]+", &["-a"], &["b"]);
    check("[^-a]", &["b"], &["-", "a"]);
    check(r"[\w--0]", &["-", ".", "/", "a"], &["+"]);
    check(r"[!-\]]+", &["]A!"], &["a"]);
    check(r"[[:alpha:]-z]+", &["a-z"], &["1"]);
}

#[test]
fn a_brace_that_counts_nothing_is_plain() {
    check(r#"^{"a":.*"#, &[r#"{"a":1}"#], &["a"]);
    check("a{", &["a{"], &["a"]);
    check("a{,5}", &["a{,5}"], &["aa"]);
    check("x{foo}", &["x{foo}"], &["x"]);
    check("a{2,x}", &["a{2,x}"], &["aa"]);
    check("a{01}", &["a{01}"], &["a"]);
    check("a{2 }", &["a{2 }"], &["aa"]);
    check("a{2}", &["aa"], &["a{2}", "aaa"]);
    check("a{2,}", &["aa", "aaa"], &["a"]);
    check("a{0}", &[""], &["a"]);
    check("a{1,2}?b", &["ab", "aab"], &["b", "aaab"]);
    check("{}", &["{}"], &[]);
    check("a}", &["a}"], &[]);
    check("a]", &["a]"], &[]);
    check(r"\{\}{2}", &["{}}"], &["{}"]);
}

#[test]
fn escapes() {
    check(r"\<a\>", &["<a>"], &["a"]);
    check(r"\101\0\12\1012", &["A\0\nA2"], &[]);
    check(r"[\101-\103]+", &["ABC"], &["D"]);
    check(r"\08", &["\u{0}8"], &[]);
    check(r"\777", &["\u{1ff}"], &[]);
    check(r"\x41\x{e9}\x{00e9}", &["Aéé"], &[]);
    check(r"[\x41-\x{43}]+", &["ABC"], &["D"]);
    check(r"\a\f\n\r\t\v", &["\u{7}\u{c}\n\r\t\u{b}"], &[]);
    check(r"\_\-\ \/\:\&\~\#\%\@", &["_- /:&~#%@"], &[]);
    check(r"[\_\-\ \]\[\^]+", &["_- ][^"], &["\\"]);
    check(r"\.\*\\", &[".*\\"], &["a*\\"]);
    check(r"\Aa\z", &["a"], &["a\n"]);
    check("a b#c", &["a b#c"], &[]);
}

#[test]
fn quoted_text() {
    check(r"\Qa.b*(\E+", &["a.b*(((", "a.b*("], &["aab"]);
    check(r"\Q[a]{2}\d\E", &[r"[a]{2}\d"], &["aa1"]);
    check(r"x\Q\Ey", &["xy"], &[]);
    check(r"\Qa.c", &["a.c"], &["abc"]);
}

#[test]
fn unicode_and_posix_classes() {
    check(r"\pL+", &["aéΩ"], &["1"]);
    check(r"\PL", &["1"], &["a"]);
    check(r"\p{Greek}", &["Ω"], &["a"]);
    check(r"\p{^Greek}", &["a"], &["Ω"]);
    check(r"\P{^Greek}", &["Ω"], &["a"]);
    check(r"[^\p{Lu}\d]", &["a"], &["A", "1"]);
    check(r"[[:alpha:]_]+", &["aZ_"], &["é", "1"]);
    check("[[:^alpha:]]", &["1", "é"], &["a"]);
    check("[^[:space:]]", &["a"], &["\u{b}", " "]);
    check("[[:word:]]+", &["a_1"], &["é"]);
}

#[test]
fn flags() {
    check("(?i)error", &["ERROR", "Error"], &["errör"]);
    check("(?i:a)b", &["Ab", "ab"], &["aB"]);
    check("a(?i)b|c", &["aB", "C"], &["AB"]);
    check("(?-s:a.b)", &["axb"], &["a\nb"]);
    check("(?i-i)a", &["a"], &["A"]);
    check("(?ii)a", &["A"], &[]);
    check("(?i-s:a.)", &["Ax"], &["A\n"]);
    check("a(?)b", &["ab"], &[]);
    check(r"(?i)\w", &["k", "K", "\u{212a}"], &["é"]);
    check("(?m)^a$\n^b$", &["a\nb"], &[]);
    check("", &[""], &["a"]);
    check("a||b", &["", "a", "b"], &[]);
    check("()|(a|)", &["", "a"], &[]);
    let lazy = Regex::new("(?U)<(.+)>").expect("valid");
    assert_eq!(&lazy.captures("<b>bold</b>").expect("a match")[1], "b");
}

#[test]
fn anchored_means_all_of_the_text_and_unanchored_any_part() {
    check("test", &["test"], &["testing", "a test", "test\n"]);
    check("a|b", &["a", "b"], &["ab", "xa", "bx"]);
    check("a.*b", &["a\n\nb"], &[]);
    check("^;*([^;]+)(;.*)?$", &["a", ";;a;b"], &[";"]);
    check("(?m)a$", &["a"], &["a\nb"]);
    let anywhere = Regex::new("a.c").expect("valid");
    assert!(anywhere.is_match("xxabcxx"));
    assert!(!anywhere.is_match("a\nc"));
}

#[test]
fn groups_have_gos_names() {
    let regex = Regex::new(r"(?P<1st>a)(b)(?<a>c)|(?P<a>d\b)|(?:e)(?P<_>f)").expect("valid");
    let names: Vec<_> = regex.group_names().collect();
    assert_eq!(names, [None, Some("1st"), None, Some("a"), Some("a"), Some("_")]);

    let mut groups = regex.capture_locations();
    assert!(regex.captures_read(&mut groups, "xabc"));
    assert_eq!((groups.get(1), groups.get(3), groups.get(4)), (Some((1, 2)), Some((3, 4)), None));
    assert!(!regex.captures_read(&mut groups, "x"));

    let captures = regex.captures("d").expect("a match");
    assert_eq!(regex.named(&captures, "a"), Some("d"));
    assert_eq!(regex.named(&captures, "1st"), None);
    assert_eq!(regex.named(&captures, "b"), None);
}

#[test]
fn printed_as_it_was_written() {
    let regex = Regex::anchored(r"\d[[]").expect("valid");
    assert_eq!(regex.to_string(), r"\d[[]");
    assert_eq!(regex.as_str(), r"\d[[]");
    assert_eq!(format!("{:?}", regex.clone()), r#"Regex("\\d[[]")"#);
}

/// Patterns that Go compiles: characters, classes, groups, alternatives, repetitions.
fn valid_pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-z0-9 &~#<>/,:;=!\"'@%_{}-]{1,4}".prop_map(|s| s.replace('{', "\\{")),
        proptest::sample::select(vec![
            ".", "^", "$", r"\d", r"\W", r"\s", r"\b", r"\B", r"\pL", r"\.", r"\x41", r"\101", r"\<", "{", "{,2}",
        ])
        .prop_map(String::from),
        r"\[\^?[\]]?[a-f&~\[.-]{0,5}g\]",
        r"\[\^?(\\d|\\w|\\S|\[:alpha:\]|a-z|-){1,3}\]",
        r"\\Q[a-z.*\[{]{0,5}\\E".prop_map(|s| format!("(?:{s})")),
    ]
    // A class may contain a reversed range.
    .prop_filter("a range runs backwards", |s| translate::translate(s).is_ok());
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| v.concat()),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|v| v.join("|")),
            (proptest::sample::select(vec!["(", "(?:", "(?P<1n>", "(?<a>", "(?i:", "(?s-i:"]), inner.clone())
                .prop_map(|(open, s)| format!("{open}{s})")),
            (proptest::sample::select(vec!["*", "+?", "?", "{2}", "{0,3}", "{1,}?"]), inner)
                .prop_map(|(op, s)| format!("(?:{s}){op}")),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(pattern in "[ -~\n]{0,40}", any in "\\PC{0,20}") {
        for pattern in [&pattern, &any] {
            let _ = Regex::new(pattern);
            let _ = Regex::anchored(pattern);
        }
    }

    #[test]
    fn syntax_at_random_does_not_make_it_panic(
        pieces in prop::collection::vec(
            proptest::sample::select(vec![
                "(", ")", "[", "]", "[^", "\\", "{", "}", "{2}", "*", "+", "?", "|", "-", "(?", "(?P<", ">", ":", "[:", ":]",
                "\\Q", "\\E", "\\p", "\\x", "\\0", "\\1", "\\d", "\\b", "^", "$", ".", "&&", "a", "é", "i", "alpha",
            ]), 0..20)
    ) {
        let _ = Regex::new(&pieces.concat());
    }

    #[test]
    fn what_go_compiles_compiles(pattern in valid_pattern()) {
        let regex = Regex::new(&pattern);
        prop_assert!(regex.is_ok(), "{}", regex.expect_err("not ok"));
        prop_assert!(Regex::anchored(&pattern).is_ok());
    }

    #[test]
    fn a_quoted_text_matches_itself_and_nothing_longer(text in "\\PC{0,20}") {
        prop_assume!(!text.contains("\\E"));
        // A backslash at the end would give `\\E`, which ends the quote one character late.
        prop_assume!(!text.ends_with('\\'));
        let regex = Regex::anchored(&format!("\\Q{text}\\E")).expect("a quote");
        prop_assert!(regex.is_match(&text));
        let longer = format!("{text}x");
        prop_assert!(!regex.is_match(&longer));
    }
}

#[test]
fn a_group_that_is_repeated_no_times_keeps_its_place() {
    let regex = Regex::new("x(?P<a>a){0}(?P<b>b)(?P<c>c){0}").expect("Go takes it");
    assert_eq!(regex.group_names().collect::<Vec<_>>(), [None, Some("a"), Some("b"), Some("c")]);
    let captures = regex.captures("xb").expect("it matches");
    let [a, b, c] = ["a", "b", "c"].map(|name| regex.named(&captures, name));
    assert_eq!((a, b, c), (None, Some("b"), None));
    let mut found = regex.capture_locations();
    assert!(regex.captures_read(&mut found, "xb"));
    assert_eq!((found.get(1), found.get(2), found.get(3)), (None, Some((1, 2)), None));
}

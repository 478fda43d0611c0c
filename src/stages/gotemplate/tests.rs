//! All expected values come from Go's text/template with sprig 3.3.0 and Promtail's functions, in UTC.

use super::super::Value as Extract;
use super::*;

fn extracted() -> Extracted<'static> {
    let mut extracted = Extracted::default();
    for (name, value) in [
        ("a", "hello World"),
        ("n", "42"),
        ("e", ""),
        ("u", "héllo wörld"),
        ("csv", "b,a,c,a"),
        ("path", "/var/log/../x/app.log.gz"),
        ("url", "https://user:pw@host.example:8443/a%20b/c?x=1#frag"),
        ("date", "2024-07-04T12:30:45Z"),
        ("json", r#"{"a":{"b":7.5,"c":[1,{"d":null}]},"s":"x<y>&z","t":true,"big":1e21,"small":1e-7}"#),
        ("text", "one two\nthree"),
    ] {
        extracted.set(name, Extract::from(value.to_string()));
    }
    extracted
}

pub(in crate::stages::gotemplate) fn check(rows: &[(&str, &str)]) {
    let extracted = extracted();
    for (text, want) in rows {
        let template = Template::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(template.over(&extracted, Data::default()).render(None).as_deref(), Ok(*want), "{text}");
    }
}

#[test]
fn printing() {
    check(&[
        ("{{ .a }} {{ .nope }} {{ .e }}|{{ print nil }}", "hello World <no value> |<nil>"),
        (r#"{{ print 1 2 "a" "b" 3 }} {{ println 1 "a" }}"#, "1 2ab3 1 a\n"),
        (
            r#"{{ printf "%s %q %5d|%-5d|%05d %x %X %o %b %c %t %.2f %8.3f|%-8s|%8s|%+d %%" .a .a 5 5 5 255 255 8 5 65 true 1.555 1.5 "x" "y" 5 }}"#,
            r#"hello World "hello World"     5|5    |00005 ff FF 10 101 A true 1.55    1.500|x       |       y|+5 %"#,
        ),
        (
            r#"{{ printf "%d" .n }} {{ printf "%s" }} {{ printf "x" 1 }} {{ printf "%[2]s %[1]s" "a" "b" }}"#,
            "%!d(string=42) %!s(MISSING) x%!(EXTRA int=1) b a",
        ),
        (
            r#"{{ 1e3 }} {{ 1000000.0 }} {{ 12345678.5 }} {{ 1.5e-7 }} {{ float64 "1234567" }} {{ printf "%v|%6v" 12345678.0 1.5 }} {{ list 1e6 "a" nil true }}"#,
            "1000 1e+06 1.23456785e+07 1.5e-07 1.234567e+06 1.2345678e+07|   1.5 [1e+06 a <nil> true]",
        ),
        (
            r#"{{ html "<a href='x'>&" }} {{ js "it's <b>" }} {{ urlquery "a b&c" }} {{ html "a" "b" }} {{ html .nope }}"#,
            r#"&lt;a href=&#39;x&#39;&gt;&amp; it\'s \u003Cb\u003E a+b%26c ab &lt;no value&gt;"#,
        ),
        (
            r#"{{ quote .a 1 nil }} {{ squote .a 1 }} {{ cat 1 "x" nil 2.5 }} {{ toString (list 1 2) }} {{ typeOf .a }} {{ kindOf (dict) }}"#,
            r#""hello World" "1" 'hello World' '1' 1 x 2.5 [1 2] string map"#,
        ),
    ]);
}

#[test]
fn control_flow() {
    check(&[
        (r#"{{ if .nope }}y{{ else if eq .n "42" }}w{{ else }}n{{ end }}"#, "w"),
        ("{{ with .a }}[{{ . }}]{{ end }}{{ with .nope }}x{{ else with .n }}{{ . }}{{ end }}", "[hello World]42"),
        (
            r#"{{ range $i, $x := splitList "," .csv }}{{ if $i }};{{ end }}{{ $i }}={{ $x }}{{ end }}"#,
            "0=b;1=a;2=c;3=a",
        ),
        (
            r#"{{ range splitList "," .csv }}{{ . }}{{ if eq . "c" }}{{ break }}{{ end }}{{ end }} {{ range 3 }}{{ . }}{{ end }}"#,
            "bac 012",
        ),
        (
            r#"{{ range $k, $v := dict "b" 1 "a" 2 }}{{ $k }}{{ $v }}{{ end }}{{ range list }}x{{ else }}none{{ end }}"#,
            "a2b1none",
        ),
        (
            r#"{{ define "t" }}<{{ . }}>{{ end }}{{ template "t" .a }}{{ block "b" .n }}({{ . }}){{ end }}"#,
            "<hello World>(42)",
        ),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        (r#"{{- /* {{ end }} */ -}} x {{- " y " -}} z {{ `}} raw` }}"#, "x y z }} raw"),
        (
            r#"{{ and .a .e }}|{{ or .e .a }}|{{ not .e }}|{{ eq .n "1" "42" }}|{{ lt 1 2 }}"#,
            "|hello World|true|true|true",
        ),
    ]);
}

#[test]
fn text() {
    check(&[
        (
            r#"{{ ToLower .a }} {{ ToUpper .u }} {{ Replace .a "l" "L" 1 }} {{ Replace "abc" "" "-" 2 }} {{ Trim "xxaxx" "x" }} {{ TrimLeft "xxaxx" "x" }} {{ TrimRight "xxaxx" "x" }} {{ TrimPrefix "abc" "a" }} {{ TrimSuffix "abc" "c" }} [{{ TrimSpace " x " }}]"#,
            "hello world HÉLLO WÖRLD heLlo World -a-bc a axx xxa bc ab [x]",
        ),
        (
            r#"{{ trim " x " }}|{{ trimAll "$" "$5$" }}|{{ trimSuffix "-" "a-" }}|{{ trimPrefix "-" "-a" }}|{{ nospace " x y " }}|{{ initials .a }}|{{ replace "l" "L" .a }}"#,
            "x|5|a|a|xy|hW|heLLo WorLd",
        ),
        (
            "{{ substr 1 3 .a }} {{ substr -1 3 .a }} {{ substr 3 -1 .a }} {{ substr 0 100 .a }} {{ trunc 3 .a }} {{ trunc -3 .a }} {{ trunc 100 .a }}",
            "el hel lo World hello World hel rld hello World",
        ),
        (
            r#"{{ abbrev 5 .a }} {{ abbrev 3 .a }} {{ abbrevboth 5 10 "1234 5678 9123 4567" }} {{ abbrevboth 100 10 "1234 5678 9123" }}"#,
            "he... hello World ...5678... ...78 9123",
        ),
        (
            r#"{{ repeat 3 "ab" }} {{ wrap 5 "hello world foo" }} {{ wrapWith 5 "|" "hello wonderful world" }} {{ wrap 3 "abcdefgh ij" }}"#,
            "ababab hello\nworld\nfoo hello|wonde|rful|world abcdefgh\nij",
        ),
        (
            r#"{{ contains "ell" .a }} {{ hasPrefix "he" .a }} {{ hasSuffix "x" .a }} {{ plural "one" "many" 1 }} {{ indent 2 .text }}{{ nindent 1 "x" }}"#,
            "true true false one   one two\n  three\n x",
        ),
        (
            r#"{{ upper "ß é" }} {{ lower "İ ΑΣ" }} {{ title "hello world-x foo_bar it's" }} {{ untitle "Hello World" }} {{ swapcase "aB ß Éx" }}"#,
            "ß É i ασ Hello World-X Foo_bar It'S hello world Ab ß éX",
        ),
        (
            r#"{{ snakecase "HTTPServer" }} {{ snakecase "GO PATH" }} {{ snakecase "http2xx" }} {{ snakecase "Bld4Floor3rd" }} {{ snakecase "a.b.C d__e" }} {{ kebabcase "12ab34CD" }}"#,
            "http_server go_path http_2xx bld4_floor_3rd a.b.c_d__e 12ab34-cd",
        ),
        (
            r#"{{ camelcase "http_server" }} {{ camelcase "_complex__case_" }} {{ camelcase "HTTPServer error_count" }}"#,
            "HttpServer _Complex_Case_ HttpserverErrorCount",
        ),
    ]);
}

#[test]
fn hashes_and_encodings() {
    check(&[
        (
            r#"{{ Hash "salt" .a }} {{ Sha2Hash "salt" .a }}"#,
            "1f764fc189ffd4af241e2c728d1ffd83dafca545101f1ae2bd7e7667c73f2abf d564bf84d8aab7c26417d0e219bbbc62278cbf6ab8a037b47e600532e24b0723",
        ),
        (
            r#"{{ sha1sum .a }} {{ sha1sum (repeat 56 "a") }} {{ sha1sum (repeat 200 "a") }} {{ adler32sum .a }}"#,
            "22c219648f00c61e5b3b1bd81ffa8e7767e2e3c5 c2db330f6083854c99d4b5bfb6e8f29f201be699 e61cfffe0d9195a525fc6cf06ca2d77119c24a40 426443837",
        ),
        (
            r#"{{ sha256sum "" }} {{ sha512sum "" | trunc 16 }}"#,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 cf83e1357eefb8bd",
        ),
        (
            r#"{{ b64enc .a }} {{ b64dec "aGVsbG8=" }} {{ b64dec "!!!" }} {{ b64dec "aGVsbG8" }} {{ b64dec "YQ=" }} {{ b64dec "YQ=a" }} {{ b32enc .a }} {{ b32dec "NBSWY3DP" }}"#,
            "aGVsbG8gV29ybGQ= hello illegal base64 data at input byte 0 illegal base64 data at input byte 4 illegal base64 data at input byte 3 illegal base64 data at input byte 2 NBSWY3DPEBLW64TMMQ====== hello",
        ),
        (
            r#"{{ base .path }} {{ dir .path }} {{ clean .path }} {{ ext .path }} {{ isAbs .path }} {{ base "" }} {{ dir "x" }} {{ clean "../../a/./b//c/.." }}"#,
            "app.log.gz /var/x /var/x/app.log.gz .gz true . . ../../a/b",
        ),
        (
            "{{ $u := urlParse .url }}{{ $u.scheme }} {{ $u.host }} {{ $u.hostname }} {{ $u.path }} {{ $u.query }} {{ $u.fragment }} {{ $u.userinfo }} {{ urlJoin $u }}",
            "https host.example:8443 host.example /a b/c x=1 frag user:pw https://user:pw@host.example:8443/a%20b/c?x=1#frag",
        ),
    ]);
}

#[test]
fn numbers() {
    check(&[
        (
            r#"{{ atoi "12" }} {{ atoi "x" }} {{ int "12.0" }} {{ int "12.5" }} {{ int "0x1f" }} {{ int "017" }} {{ int "08" }} {{ int "1_000" }} {{ int true }} {{ int -3.9 }} {{ float64 "1e3" }} {{ float64 "x" }} {{ toDecimal "777" }}"#,
            "12 0 12 0 31 15 0 1000 1 -3 1000 0 511",
        ),
        (
            r#"{{ add 1 .n 3 }} {{ add1 "5" }} {{ sub 5 "3" }} {{ mul 2 3 4 }} {{ div -7 2 }} {{ mod -7 3 }} {{ max 1 5 3 }} {{ min 4 2 3 }} {{ maxf 1.5 2.5 }} {{ floor -3.5 }} {{ ceil 3.2 }}"#,
            "46 6 2 24 -3 -1 5 2 2.5 -4 4",
        ),
        ("{{ round 3.14159 2 }} {{ round 2.5 0 }} {{ round -2.5 0 }} {{ round 3.7 0 0.8 }}", "3.14 3 -3 3"),
        (
            "{{ addf 0.1 0.2 }} {{ add1f 1.5 }} {{ subf 1 0.1 0.1 }} {{ mulf 1.1 1.1 }} {{ divf 1 3 }} {{ divf -2 3 }} {{ addf 1e20 1 }}",
            "0.3 2.5 0.8 1.21 0.3333333333333333 -0.6666666666666667 1e+20",
        ),
        (
            "{{ until 3 }} {{ until -3 }} {{ untilStep 0 10 3 }} {{ untilStep 10 0 -4 }} {{ seq 5 }} {{ seq -3 }} {{ seq 0 2 10 }} {{ seq 5 -2 0 }}",
            "[0 1 2] [0 -1 -2] [0 3 6 9] [10 6 2] 1 2 3 4 5 1 0 -1 -2 -3 0 2 4 6 8 10 5 3 1",
        ),
    ]);
}

#[test]
fn values_and_lists() {
    check(&[
        (
            r#"{{ default "d" .e }} {{ .nope | default "d" }} {{ default "d" 0 }} {{ empty (list) }} {{ coalesce "" 0 nil "z" }} {{ all 1 "" }} {{ any 0 1 }} {{ true | ternary "a" "b" }} {{ deepEqual (list 1 2) (list 1 2) }}"#,
            "d d d true z false true a true",
        ),
        (
            r#"{{ join "," (list 1 "a" nil true) }} {{ sortAlpha (list "b" "a" 3) }} {{ splitList "," .csv }} {{ (split "," .csv)._1 }} {{ splitn "," 2 .csv }} {{ splitList "" "abc" }}"#,
            "1,a,true [3 a b] [b a c a] a map[_0:b _1:a,c,a] [a b c]",
        ),
        (
            "{{ first (list 1 2) }} {{ last (list 1 2) }} {{ rest (list 1 2 3) }} {{ initial (list 1 2 3) }} {{ append (list 1) 2 }} {{ prepend (list 1) 2 }} {{ reverse (list 1 2) }} {{ uniq (list 1 2 1) }} {{ without (list 1 2 3) 2 }}",
            "1 2 [2 3] [1 2] [1 2] [2 1] [2 1] [1 2] [1 3]",
        ),
        (
            r#"{{ has 4 (list 1 2) }} {{ compact (list 1 "" nil 2) }} {{ slice (list 1 2 3) 1 2 }} {{ concat (list 1) (list 2) }} {{ chunk 2 (list 1 2 3) }} {{ len .u }} {{ index (list 1 2) 1 }}"#,
            "false [1 2] [2] [1 2] [[1 2] [3]] 13 2",
        ),
        (
            "{{ $l := list }}{{ range $i, $e := until 5 }}{{ if mod $i 2 }}{{ $l = append $l $e }}{{ end }}{{ end }}{{ $l }}",
            "[1 3]",
        ),
    ]);
}

#[test]
fn dictionaries_change_in_place() {
    check(&[
        (
            r#"{{ $d := dict "a" 1 "b" 2 }}{{ $_ := set $d "c" 3 }}{{ $d }} {{ get $d "z" }}|{{ hasKey $d "a" }} {{ $_ := unset $d "a" }}{{ $d }} {{ len $d }} {{ set $d "x" "y" }} {{ $d.x }} {{ $d.missing }}"#,
            "map[a:1 b:2 c:3] |true map[b:2 c:3] 2 map[b:2 c:3 x:y] y <no value>",
        ),
        (
            r#"{{ $d := dict "a" 1 }}{{ if true }}{{ $x := set $d "b" 2 | len }}{{ $x }}{{ end }}{{ range $i := list 1 2 }}{{ $_ := set $d (printf "k%d" $i) $i }}{{ end }}{{ (set $d "z" 1).z }} {{ get (set $d "y" 2) "y" }} {{ $d }}"#,
            "21 2 map[a:1 b:2 k1:1 k2:2 y:2 z:1]",
        ),
        (
            r#"{{ pick (dict "a" 1 "b" 2) "b" }} {{ omit (dict "a" 1 "b" 2) "b" }} {{ pluck "b" (dict "b" 1) (dict "b" 2) }} {{ keys (dict "a" 1) }} {{ values (dict "a" 1) }} {{ dict "a" }}"#,
            "map[b:2] map[a:1] [1 2] [a] [1] map[a:]",
        ),
        (
            r#"{{ merge (dict "a" 1 "e" "") (dict "a" 2 "b" 3 "e" "x") }} {{ mergeOverwrite (dict "m" (dict "x" 1)) (dict "m" (dict "x" 2 "y" 3)) }} {{ $x := dict "a" 1 }}{{ $_ := merge $x (dict "b" 2) }}{{ $x }} {{ dig "a" "b" "def" (dict "a" (dict "b" 5)) }} {{ dig "a" "z" "def" (dict "a" (dict "b" 5)) }}"#,
            "map[a:1 b:3 e:x] map[m:map[x:2 y:3]] map[a:1 b:2] 5 def",
        ),
    ]);
}

#[test]
fn json() {
    check(&[
        (
            "{{ $j := fromJson .json }}{{ $j.a.b }} {{ $j.s }} {{ $j.big }} {{ index $j.a.c 0 }} {{ toJson $j }} {{ toRawJson $j.s }} {{ (index $j.a.c 1).d }} {{ $j.a }}",
            r#"7.5 x<y>&z 1e+21 1 {"a":{"b":7.5,"c":[1,{"d":null}]},"big":1e+21,"s":"x\u003cy\u003e\u0026z","small":1e-7,"t":true} "x<y>&z" <no value> map[b:7.5 c:[1 map[d:<nil>]]]"#,
        ),
        (
            r#"{{ toPrettyJson (fromJson .json).a }}{{ toPrettyJson (dict) }} {{ fromJson "not" }} {{ toJson "a\u2028b\b" }} {{ toJson 1.0 }}"#,
            "{\n  \"b\": 7.5,\n  \"c\": [\n    1,\n    {\n      \"d\": null\n    }\n  ]\n}{} <no value> \"a\\u2028b\\b\" 1",
        ),
    ]);
}

/// Go 1.22 and later escape `\b` and `\f` as such. The JSON library of the `json` and `pack` stages does not, as in
/// Promtail 3.6.
#[test]
fn control_characters_in_json() {
    let mut extracted = extracted();
    extracted.set("raw", Extract::from("\u{8}\u{c}\u{b}\u{7f}\u{2028}<".to_string()));
    for (text, want) in [
        ("{{ toJson .raw }}", "\"\\b\\f\\u000b\u{7f}\\u2028\\u003c\""),
        ("{{ toRawJson .raw }}", "\"\\b\\f\\u000b\u{7f}\\u2028<\""),
    ] {
        let template = Template::parse(text).expect(text);
        assert_eq!(template.over(&extracted, Data::default()).render(None).as_deref(), Ok(want), "{text}");
    }
    let mut quoted = String::new();
    crate::stages::gojson::quote(&mut quoted, "\u{8}\u{c}\u{b}\u{7f}\u{2028}<");
    assert_eq!(quoted, "\"\\u0008\\u000c\\u000b\u{7f}\\u2028\\u003c\"");
}

#[test]
fn regular_expressions() {
    check(&[
        (
            r#"{{ regexReplaceAll "(\\w+) (\\w+)" .a "$2 $1" }} {{ regexReplaceAll "l" .a "${0}${0}" }} {{ regexReplaceAllLiteral "l" .a "$1" }} {{ regexMatch "^h" .a }} {{ regexMatch "(" "x" }} {{ regexFind "[a-z]+" .a }}"#,
            "World hello hellllo Worlld he$1$1o Wor$1d true false hello",
        ),
        (
            r#"{{ regexFindAll "l" .a 2 }} {{ regexFindAll "x*" "axb" -1 | toJson }} {{ regexSplit "l+" .a 2 }} {{ regexSplit "x*" "axb" -1 | toJson }} {{ regexSplit "" "abc" -1 | toJson }} {{ regexReplaceAll "x*" "abxc" "-" }} {{ regexQuoteMeta "a.b*c" }}"#,
            r#"[l l] ["","x",""] [he o World] ["a","b"] ["a","b","c"] -a-b-c- a\.b\*c"#,
        ),
    ]);
}

#[test]
fn times() {
    check(&[
        (
            r#"{{ $t := toDate "2006-01-02T15:04:05Z07:00" .date }}{{ $t }} {{ date "2006-01-02" $t }} {{ dateInZone "15:04 MST" $t "Europe/Berlin" }} {{ htmlDateInZone $t "Asia/Tokyo" }} {{ unixEpoch $t }} {{ dateModify "-1.5h" $t }} {{ $t | quote }} {{ toJson $t }} {{ printf "%s|%v" $t $t }} {{ print $t }}"#,
            r#"2024-07-04 12:30:45 +0000 UTC 2024-07-04 14:30 CEST 2024-07-04 1720096245 2024-07-04 11:00:45 +0000 UTC "2024-07-04 12:30:45 +0000 UTC" "2024-07-04T12:30:45Z" 2024-07-04 12:30:45 +0000 UTC|2024-07-04 12:30:45 +0000 UTC 2024-07-04 12:30:45 +0000 UTC"#,
        ),
        (
            r#"{{ $t := toDate "2006-01-02T15:04:05Z07:00" .date }}{{ $t.Unix }} {{ $t.Year }} {{ $t.Format "Jan 2" }} {{ $t.UTC.Hour }} {{ $t.Weekday }} {{ $t.Month }} {{ $t.YearDay }} {{ $t.UnixMilli }} {{ $t.IsZero }} {{ (toDate "2006" "x").IsZero }} {{ typeOf $t }}"#,
            "1720096245 2024 Jul 4 12 Thursday July 186 1720096245000 false true time.Time",
        ),
        (
            r#"{{ date "2006-01-02 15:04" 0 }} {{ (toDate "2006-01-02" "2024-02-03" | dateModify "36h").Format "02 15" }} {{ with toDate "2006" "2024" }}{{ .Year }} {{ .Format "06" }}{{ end }} {{ now | date "2006" | len }}"#,
            "1970-01-01 00:00 04 12 2024 24 4",
        ),
        (
            r#"{{ duration "95" }} {{ duration "x" }} {{ durationRound "2h10m5s" }} {{ durationRound "25h" }} {{ durationRound "-5m3s" }} {{ durationRound "800h" }} {{ durationRound "" }}"#,
            "1m35s 0s 2h 1d 5m 1mo 0s",
        ),
    ]);
}

#[test]
fn a_list_of_texts_sorts_in_place() {
    check(&[(
        r#"{{ $l := splitList "." "d.b.a" }}{{ sortAlpha $l }}{{ $l }} {{ $m := list "b" "a" }}{{ sortAlpha $m }}{{ $m }} {{ $k := splitList "." "y.x" }}{{ $k | sortAlpha | join "," }}{{ $k }} {{ $n := splitList "." "q.p" | uniq }}{{ sortAlpha $n }}{{ $n }} {{ $r := regexFindAll "[a-z]" "ba" -1 }}{{ join "" (sortAlpha $r) }}{{ $r }}"#,
        "[a b d][a b d] [a b][b a] x,y[x y] [p q][q p] ab[a b]",
    )]);
}

#[test]
fn what_fails_when_it_runs() {
    for text in [
        "{{ ToUpper 5 }}",
        "{{ ToUpper .nope }}",
        "{{ ToUpper .a .a }}",
        "{{ .a.b }}",
        "{{ eq .n 42 }}",
        "{{ lt 1 \"a\" }}",
        "{{ div 1 0 }}",
        "{{ divf 1 0 }}",
        "{{ substr 50 60 .a }}",
        "{{ index (list 1) 5 }}",
        "{{ ternary \"a\" \"b\" \"true\" }}",
        "{{ regexFind \"(\" \"x\" }}",
        "{{ mustToDate \"2006\" \"x\" }}",
        "{{ unixEpoch \"x\" }}",
        "{{ mustFromJson \"not\" }}",
        "{{ first \"x\" }}",
        "{{ template \"missing\" . }}",
        "{{ range .a }}{{ end }}",
        // Limits of fantail.
        "{{ repeat 1000000000 .a }}",
        "{{ until 1000000000 }}",
        "{{ seq 1000000000 }}",
        "{{ indent 1000000000 .a }}",
        "{{ Replace (repeat 100000 \"x\") \"x\" (repeat 100000 \"y\") -1 }}",
        "{{ range 1000000 }}{{ end }}",
        "{{ define \"x\" }}{{ template \"x\" . }}{{ end }}{{ template \"x\" . }}",
    ] {
        let template = Template::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert!(template.over(&extracted(), Data::default()).render(None).is_err(), "{text}");
    }
}

#[test]
fn what_is_no_template() {
    for (text, message) in [
        ("{{ .a", "unclosed"),
        ("x{{ end }}y", "unexpected {{end}}"),
        ("\nx{{- else }}y", "line 2: unexpected {{else}}"),
        ("{{ if true }}x", "{{end}}"),
        ("{{ if }}x{{ end }}", ""),
        ("{{ $x }}", "undefined variable `$x`"),
        ("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", "undefined variable `$x`"),
        ("{{ break }}", "outside of range"),
        ("{{ .a | noSuch }}", "`noSuch` is not defined"),
        ("{{ .a | toupper }}", "did you mean `ToUpper`"),
        ("{{ if false }}{{ getHostByName .a }}{{ end }}", "network"),
        ("{{ define \"x\" }}{{ genPrivateKey \"rsa\" }}{{ end }}", "keys"),
        ("{{ $d := dict }}{{ set $d.a \"b\" 1 }}", "`set $d …`"),
    ] {
        let error = Template::parse(text).expect_err(text);
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn all_of_sprig_is_there_or_refused_by_name() {
    let sprig = "hello ago date date_in_zone date_modify dateInZone dateModify duration durationRound htmlDate htmlDateInZone
        must_date_modify mustDateModify mustToDate now toDate unixEpoch abbrev abbrevboth trunc trim upper lower title untitle
        substr repeat trimall trimAll trimSuffix trimPrefix nospace initials randAlphaNum randAlpha randAscii randNumeric
        swapcase shuffle snakecase camelcase kebabcase wrap wrapWith contains hasPrefix hasSuffix quote squote cat indent
        nindent replace plural sha1sum sha256sum sha512sum adler32sum toString atoi int64 int float64 seq toDecimal split
        splitList splitn toStrings until untilStep add1 add sub div mod mul randInt add1f addf subf divf mulf biggest max min
        maxf minf ceil floor round join sortAlpha default empty coalesce all any compact mustCompact fromJson toJson
        toPrettyJson toRawJson mustFromJson mustToJson mustToPrettyJson mustToRawJson ternary deepCopy mustDeepCopy typeOf
        typeIs typeIsLike kindOf kindIs deepEqual env expandenv getHostByName base dir clean ext isAbs osBase osClean osDir
        osExt osIsAbs b64enc b64dec b32enc b32dec tuple list dict get set unset hasKey pluck keys pick omit merge
        mergeOverwrite mustMerge mustMergeOverwrite values append push mustAppend mustPush prepend mustPrepend first
        mustFirst rest mustRest last mustLast initial mustInitial reverse mustReverse uniq mustUniq without mustWithout has
        mustHas slice mustSlice concat dig chunk mustChunk bcrypt htpasswd genPrivateKey derivePassword buildCustomCert genCA
        genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey encryptAES decryptAES
        randBytes uuidv4 semver semverCompare fail regexMatch mustRegexMatch regexFindAll mustRegexFindAll regexFind
        mustRegexFind regexReplaceAll mustRegexReplaceAll regexReplaceAllLiteral mustRegexReplaceAllLiteral regexSplit
        mustRegexSplit regexQuoteMeta urlParse urlJoin";
    for name in sprig.split_whitespace() {
        if let Err(message) = functions::exists(name) {
            assert!(!message.contains("not defined"), "{message}");
        }
    }
}

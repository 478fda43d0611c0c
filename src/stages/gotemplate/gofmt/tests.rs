//! All expected values come from Go 1.26 with sprig 3.3.0.

use super::super::tests::check;

#[test]
fn as_go_prints() {
    check(&[
        (
            r#"{{ printf "%T %T %T %T %T %T %T" 1 1.5 "x" true nil .n .nope }}"#,
            "int float64 string bool <nil> string <nil>",
        ),
        (
            r#"{{ printf "%T %T %T" (list 1) (dict) (splitList "," .csv) }}"#,
            "[]interface {} map[string]interface {} []string",
        ),
        (r#"{{ printf "%T %T %T %T" (atoi "1") (int "1") (int64 "1") (float64 "1") }}"#, "int int int64 float64"),
        (r#"{{ printf "%T %T %T" (add 1 2) (until 2) (split "," .csv) }}"#, "int64 []int map[string]string"),
        (
            r#"{{ add 1 2 | printf "%T" }} {{ $x := mul 2 3 }}{{ printf "%T %d %s" $x $x $x }}"#,
            "int64 int64 6 %!s(int64=6)",
        ),
        (
            r#"{{ typeOf (add 1 2) }} {{ kindOf (int64 1) }} {{ typeIs "int64" (sub 1 1) }} {{ kindIs "slice" (splitList "," .csv) }} {{ typeOf (keys (dict)) }}"#,
            "int64 int64 true true []string",
        ),
        (
            r#"{{ printf "%+q %#q %q %+q" .u .u .u "☺\t" }}"#,
            r#""h\u00e9llo w\u00f6rld" `héllo wörld` "héllo wörld" "\u263a\t""#,
        ),
        (r#"{{ printf "%#q %#q" "a`b" "tab\there" }}"#, "\"a`b\" `tab\there`"),
        (r#"{{ printf "%q %+q %#q %q" 65 233 128512 -1 }}"#, r#"'A' '\u00e9' '😀' '�'"#),
        (
            r#"{{ printf "%U %#U %U %#U %08U %.6U" 233 233 -1 0x1F600 65 65 }}"#,
            "U+00E9 U+00E9 'é' U+FFFFFFFFFFFFFFFF U+1F600 '😀'   U+0041 U+000041",
        ),
        (r#"{{ printf "%c|%5c|%-5c|%c|%c|%05c" 65 233 233 -1 0x110000 65 }}"#, "A|    é|é    |�|�|0000A"),
        (
            r#"{{ printf "%t %v %5t|%-6t|%06t %s %d" true false true false true true false }}"#,
            "true false  true|false |00true %!s(bool=true) %!d(bool=false)",
        ),
        (r#"{{ printf "%v %+v %#v %v %+v %#v" "a" "a" "a" 5 5 5 }}"#, r#"a a "a" 5 5 5"#),
        (
            r#"{{ printf "%v %+v %#v" 1.5 1.5 1.5 }} {{ printf "%#v %#v %#v %#v" 1e6 1e21 100000.0 -0.5 }}"#,
            "1.5 1.5 1.5 1e+06 1e+21 100000 -0.5",
        ),
        (
            r#"{{ printf "%v %+v %#v" (list 1 "a" nil true 1.5) (list 1 "a" nil) (list 1 "a" nil true 1.5) }}"#,
            r#"[1 a <nil> true 1.5] [1 a <nil>] []interface {}{1, "a", interface {}(nil), true, 1.5}"#,
        ),
        (
            r#"{{ printf "%v %+v %#v" (dict "b" 1 "a" "x") (dict "b" nil) (dict "b" 1 "a" "x" "c" nil) }}"#,
            r#"map[a:x b:1] map[b:<nil>] map[string]interface {}{"a":"x", "b":1, "c":interface {}(nil)}"#,
        ),
        (
            r#"{{ printf "%#v %#v %#v" (splitList "," .csv) (until 3) (split "," .csv) }}"#,
            r#"[]string{"b", "a", "c", "a"} []int{0, 1, 2} map[string]string{"_0":"b", "_1":"a", "_2":"c", "_3":"a"}"#,
        ),
        (
            r#"{{ printf "%#v %#v %#v" (list) (dict) (list (list 1) (dict "a" 1)) }}"#,
            r#"[]interface {}{} map[string]interface {}{} []interface {}{[]interface {}{1}, map[string]interface {}{"a":1}}"#,
        ),
        (
            r#"{{ printf "%e %E %g %G %f %F %b %x %X" 1234.5 1234.5 1234.5 1e-7 1234.5 1234.5 1.5 1.5 10.75 }}"#,
            "1.234500e+03 1.234500E+03 1234.5 1E-07 1234.500000 1234.500000 6755399441055744p-52 0x1.8p+00 0X1.58P+03",
        ),
        (
            r#"{{ printf "%.2e|%.0e|%.3g|%.10g|%.0f|%.1f|%g|%g|%g" 1234.5 1234.5 1234.5 1234.5 2.5 0.25 1e5 1e6 1e21 }}"#,
            "1.23e+03|1e+03|1.23e+03|1234.5|2|0.2|100000|1e+06|1e+21",
        ),
        (
            r#"{{ printf "%g %g %g %g %.3g %.3g %.1g" 0.0001 0.00001 123456789.0 100000.0 0.00012345 100.0 0.0 }}"#,
            "0.0001 1e-05 1.23456789e+08 100000 0.000123 100 0",
        ),
        (
            r#"{{ printf "%#g %#.3g %#g %#x %#e %#.0f %#.0e %#g" 1.0 1.0 1e6 1.0 1.0 1.0 1.0 0.0 }}"#,
            "1.00000 1.00 1.00000e+06 0x1.0000p+00 1.000000e+00 1. 1.e+00 0.00000",
        ),
        (
            r#"{{ printf "%x %.3x %.0x %X %#x %x %x" 0.1 0.1 1.999 0.1 0.1 0.0 5e-324 }}"#,
            "0x1.999999999999ap-04 0x1.99ap-04 0x1p+01 0X1.999999999999AP-04 0x1.999999999999ap-04 0x0p+00 0x1p-1074",
        ),
        (
            r#"{{ printf "%6.2f|%-8.2f|%08.2f|%+.2f|% .2f|%+08.2f|% 08.2f|%-08.2f" 1.555 1.555 1.555 1.555 1.555 1.555 1.555 1.555 }}"#,
            "  1.55|1.55    |00001.55|+1.55| 1.55|+0001.55| 0001.55|1.55    ",
        ),
        (r#"{{ printf "%08v|%8v|%-8v|%+v|%08v" 1.5 1.5 1.5 1.5 -1.5 }}"#, "000001.5|     1.5|1.5     |1.5|-00001.5"),
        (
            r#"{{ printf "%v %f %05f %+v %v %e" (float64 "inf") (float64 "-inf") (float64 "inf") (float64 "inf") (float64 "nan") (float64 "nan") }}"#,
            "+Inf -Inf  +Inf +Inf NaN NaN",
        ),
        (
            r#"{{ printf "%+v % v %08v %+08v %x" (float64 "nan") (float64 "nan") (float64 "nan") (float64 "nan") (float64 "inf") }}"#,
            "NaN  NaN      NaN      NaN +Inf",
        ),
        (
            r#"{{ printf "%d|%5d|%-5d|%05d|%+d|% d|%+05d|%x|%X|%#x|%#X|%o|%#o|%O|%b|%#b" 42 42 42 42 42 42 42 255 255 255 255 8 8 8 5 5 }}"#,
            "42|   42|42   |00042|+42| 42|+0042|ff|FF|0xff|0XFF|10|010|0o10|101|0b101",
        ),
        (
            r#"{{ printf "%d|%5d|%05d|%-05d|%x|%#x|%o|%b|%+d|% d" -42 -42 -42 -42 -255 -255 -8 -5 -42 -42 }}"#,
            "-42|  -42|-0042|-42  |-ff|-0xff|-10|-101|-42|-42",
        ),
        (
            r#"{{ printf "%.3d|%6.3d|%-6.3d|%06.3d|%.0d|%5.0d|%+.3d|%.3x|%#.3x" 5 5 5 5 0 0 5 10 10 }}"#,
            "005|   005|005   |   005||     |+005|00a|0x00a",
        ),
        (
            r#"{{ printf "%x|%X|% x|%#x|%# x|% X|%.2x|%8x|%-8x|%08x" "héy" "héy" "hey" "hey" "hey" "hey" "hey" "hi" "hi" "hi" }}"#,
            "68c3a979|68C3A979|68 65 79|0x686579|0x68 0x65 0x79|68 65 79|6865|    6869|6869    |00006869",
        ),
        (
            r#"{{ printf "%02s|%05s|%-05s|%5s|%-5s|%.2s|%5.1s|%05.1s|%.0s|%s" "3" "ab" "ab" "é" "é" "héy" "héy" "héy" "abc" "x" }}"#,
            "03|000ab|ab   |    é|é    |hé|    h|0000h||x",
        ),
        (
            r#"{{ printf "%05q|%-6q|%6q|%.1q|%05v|%5v" "a" "a" "a" "abc" "a" "a" }}"#,
            r#"00"a"|"a"   |   "a"|"a"|0000a|    a"#,
        ),
        (
            r#"{{ printf "%*d|%-*d|%0*d|%*d|%.*f|%*.*f" 5 42 5 42 5 42 -5 42 2 3.14159 8 2 3.14159 }}"#,
            "   42|42   |00042|42   |3.14|    3.14",
        ),
        (r#"{{ printf "%*d|%.*d|%*s" "x" 42 "y" 43 1.5 "z" }}"#, "%!(BADWIDTH)42|%!(BADPREC)43|%!(BADWIDTH)z"),
        (
            r#"{{ printf "%*d" 5 }} {{ printf "%.*d" -1 7 }} {{ printf "%*d" 2000000 7 }}"#,
            "%!d(MISSING) %!(BADPREC)7 %!(BADWIDTH)7",
        ),
        (
            r#"{{ printf "%[1]d %[1]x %[2]s" 42 "a" }} {{ printf "%[2]d %[1]d" 1 2 }} {{ printf "%[3]d" 1 }} {{ printf "%[0]d" 1 }} {{ printf "%[x]d" 1 }} {{ printf "%[1]d" }} {{ printf "%[" 1 }} {{ printf "%[]d" 1 }}"#,
            "42 2a a 2 1 %!d(BADINDEX) %!d(BADINDEX) %!d(BADINDEX) %!d(BADINDEX) %!(NOVERB) %!d(BADINDEX)",
        ),
        (
            r#"{{ printf "%[2]*[1]d|%[3]*.[2]*[1]f|%[1]2d|%[1].2d|%.[2]d" 12 2 6 }}"#,
            "12|%!f(int=    12)|%!d(BADINDEX)|%!d(BADINDEX)|2",
        ),
        (
            r#"{{ printf "%[3]*.[2]*[1]f|" 12.0 2 6 }}{{ printf "%6.[2]d" 1 2 }}{{ printf "%[1]d %d %d" 1 2 3 }}{{ printf "%d %d" 1 2 3 }}"#,
            " 12.00|     21 2 31 2%!(EXTRA int=3)",
        ),
        (
            r#"{{ printf "%d %s %q %x %t %f" "hi" 5 1.5 true "no" 3 }}"#,
            "%!d(string=hi) %!s(int=5) %!q(float64=1.5) %!x(bool=true) %!t(string=no) %!f(int=3)",
        ),
        (
            r#"{{ printf "%d %s %q %x %t %c" nil nil nil nil nil nil }} {{ printf "%v|%5v|%-7v|%s" nil nil nil .nope }}"#,
            "%!d(<nil>) %!s(<nil>) %!q(<nil>) %!x(<nil>) %!t(<nil>) %!c(<nil>) <nil>|<nil>|<nil>  |%!s(<nil>)",
        ),
        (
            r#"{{ printf "%z %! %y %" "a" 1 }} {{ printf "%!" }} {{ printf "%" }} {{ printf "%5" 1 }} {{ printf "%5." 1 }} {{ printf "%.d" 5 }} {{ printf "%é" 5 }}"#,
            "%!z(string=a) %!!(int=1) %!y(MISSING) %!(NOVERB) %!!(MISSING) %!(NOVERB) %!(NOVERB)%!(EXTRA int=1) %!.(int=    1) 5 %!é(int=5)",
        ),
        (
            r#"{{ printf "100%% %5% %-5%|" }} {{ printf "%d%%" 5 }} {{ printf "%s" }} {{ printf "%d %d" 1 }}"#,
            "100% % %| 5% %!s(MISSING) 1 %!d(MISSING)",
        ),
        (
            r#"{{ printf "x" 1 "a" nil 1.5 true (list 1 "b") (dict "k" 1) }} {{ printf "%s" "a" (add 1 2) }}"#,
            "x%!(EXTRA int=1, string=a, <nil>, float64=1.5, bool=true, []interface {}=[1 b], map[string]interface {}=map[k:1]) a%!(EXTRA int64=3)",
        ),
        (
            r#"{{ printf "%s %d %q %x %t" (list "a" 1 nil) (list 1 "a" 2.5) (list "a" "b") (list "a" 255 1.5) (list true 1) }}"#,
            r#"[a %!s(int=1) <nil>] [1 %!d(string=a) %!d(float64=2.5)] ["a" "b"] [61 ff 0x1.8p+00] [true %!t(int=1)]"#,
        ),
        (
            r#"{{ printf "%5v|%-5v|%05d" (list 1 "a") (list 1 "a") (list 1 2) }} {{ printf "%q %s %d %v" (dict "a" "b") (dict "a" 1) (dict "a" 1) (dict) }}"#,
            r#"[    1     a]|[1     a    ]|[00001 00002] map["a":"b"] map[a:%!s(int=1)] map[%!d(string=a):1] map[]"#,
        ),
        (
            r#"{{ printf "%s %s %q" (splitList "," .csv) (split "," "a,b") (until 3) }} {{ printf "%s %d" (add 1 2) (add 1 2) }} {{ printf "%f %d" (atoi "3") (float64 "3") }}"#,
            r#"[b a c a] map[_0:a _1:b] ['\x00' '\x01' '\x02'] %!s(int64=3) 3 %!f(int=3) %!d(float64=3)"#,
        ),
        (
            r#"{{ printf "%p" "x" }} {{ printf "%w" "x" }} {{ printf "%i %u" 5 5 }} {{ printf "%5%|%05d|%5t|%5s" 7 true "ab" }}"#,
            "%!p(string=x) %!w(string=x) %!i(int=5) %!u(int=5) %|00007| true|   ab",
        ),
        (
            r#"{{ printf "% d|%+d|%+ d|% +d|%-+5d|%+-5d|%0-5d|%-05d|%#+x" 5 5 5 5 5 5 5 5 255 }}"#,
            " 5|+5|+5|+5|+5   |+5   |5    |5    |+0xff",
        ),
        (r#"{{ printf "%+s|%#s|% s|%+x|%#v|%+v|% v" "a" "a" "a" "a" "a\n" "a" 5 }}"#, r#"a|a|a|61|"a\n"|a| 5"#),
        (
            r#"{{ printf "%v %s" true "é" | printf "[%s] %d" }} {{ 7 | printf "%03d" }} {{ "3" | printf "%02s" }} {{ printf "%v" 'a' }} {{ printf "%c%c" 'h' 'é' }}"#,
            "[true é] %!d(MISSING) 007 03 97 hé",
        ),
        (
            r#"{{ $t := toDate "2006-01-02T15:04:05Z07:00" .date }}{{ printf "%v|%s|%q|%T|%30v" $t $t $t $t $t }} {{ printf "%d %T" $t.Unix $t.Unix }}"#,
            r#"2024-07-04 12:30:45 +0000 UTC|2024-07-04 12:30:45 +0000 UTC|"2024-07-04 12:30:45 +0000 UTC"|time.Time| 2024-07-04 12:30:45 +0000 UTC 1720096245 int64"#,
        ),
        (
            r#"{{ printf "%v %s %T %q" (semver "1.2.3-a") (semver "v1.2") (semver "1") (semver "1.0") }} {{ printf "%T %d" (semver "1.2.3").Major (semver "1.2.3").Minor }}"#,
            r#"1.2.3-a 1.2.0 *semver.Version "1.0.0" uint64 2"#,
        ),
        (
            r#"{{ $j := fromJson .json }}{{ printf "%v %T %T %s %d %v" $j.a $j.a.b $j.a.c $j.s $j.t $j.big }} {{ printf "%#v" $j.a }}"#,
            r#"map[b:7.5 c:[1 map[d:<nil>]]] float64 []interface {} x<y>&z %!d(bool=true) 1e+21 map[string]interface {}{"b":7.5, "c":[]interface {}{1, map[string]interface {}{"d":interface {}(nil)}}}"#,
        ),
        (
            r#"{{ printf "%d" 0x1F }} {{ printf "%d" 0b101 }} {{ printf "%d" 0o17 }} {{ printf "%d" 1_000 }} {{ printf "%v" 0x1p-2 }} {{ printf "%v" 1_0.5 }} {{ printf "%d" 017 }} {{ printf "%v" 1e3 }} {{ printf "%v" .5 }}"#,
            "31 5 15 1000 0.25 10.5 15 1000 0.5",
        ),
        (
            r#"{{ printf "%10.3v|%-10.3v|%.3v|%.1v" 3.14159 3.14159 "abcdef" 12345.678 }} {{ printf "%.3v" (list "abcdef" 3.14159) }} {{ printf "%6.3v|%06v" 42 42 }}"#,
            "      3.14|3.14      |abc|1e+04 [abc 3.14]    042|000042",
        ),
        (
            r#"{{ printf "%0.2f|%00005d|%-0+5d|%++d|%##x" 1.0 5 5 5 255 }} {{ printf "%1000001d" 5 | len }}"#,
            "1.00|00005|+5   |+5|0xff 1000001",
        ),
        (
            r#"{{ printf "%q" "\x00\x01\x7f\u00a0\u2028\ufeff\U000e0001é☺\\\"'" }} {{ printf "%+q" "\x00\u00a0\U0001F600\\\"'" }} {{ printf "%q" '\'' }} {{ printf "%q" '"' }} {{ printf "%+q" 'é' }}"#,
            r#""\x00\x01\x7f\u00a0\u2028\ufeff\U000e0001é☺\\\"'" "\x00\u00a0\U0001f600\\\"'" '\'' '"' '\u00e9'"#,
        ),
        (
            r#"{{ printf "%.5g|%.17g|%.20f|%.3e|%.0g|%.2g" 0.1 0.1 0.1 0.0 123.0 0.000123 }} {{ printf "%g %e %v" -0.0 -0.0 1e-320 }} {{ printf "%6g|%-6g|%06g|%+g" 1.5 1.5 1.5 1.5 }}"#,
            "0.1|0.10000000000000001|0.10000000000000000555|0.000e+00|1e+02|0.00012 -0 -0.000000e+00 1e-320    1.5|1.5   |0001.5|+1.5",
        ),
    ]);
}

/// Types that the engine does not have, through functions that return their arguments.
#[test]
fn types_that_functions_make() {
    check(&[
        (
            r#"{{ with add 1 2 }}{{ printf "%s %T" . . }}{{ end }} {{ with $y := mul 2 3 }}{{ printf "%T %T" $y . }}{{ end }} {{ with "x" }}{{ printf "%T" . }}{{ end }} {{ with add 0 0 }}{{ else }}{{ printf "%T" .a }}{{ end }}"#,
            "%!s(int64=3) int64 int64 int64 string string",
        ),
        (
            r#"{{ with add 1 2 }}{{ if true }}{{ printf "%T" . }}{{ end }}{{ range until 2 }}{{ printf "%T" . }}{{ end }}{{ with 5 }}{{ printf "%T" . }}{{ end }}{{ printf "%T" . }}{{ . | printf "%d %s" 1 }}{{ end }} {{ range splitList "," .csv }}{{ printf "%T" . }}{{ end }}"#,
            "int64intintintint641 %!s(int64=3) stringstringstringstring",
        ),
        (
            r#"{{ with splitList "," .csv }}{{ printf "%T %#v" . (first .) }}{{ len . }}{{ end }} {{ range $i, $e := list (add 1 2) }}{{ $e }}{{ end }} {{ with (dict "a" 1) }}{{ printf "%T %d" . .a }}{{ end }}"#,
            r#"[]string "b"4 3 map[string]interface {} 1"#,
        ),
        (
            r#"{{ printf "%T" (default 0 .n) }} {{ printf "%T" (default (int64 1) .nope) }} {{ printf "%T" (first (list (add 1 2))) }} {{ printf "%T" (index (list 1 (mul 2 3)) 1) }} {{ printf "%s" (default (add 1 2) .nope) }}"#,
            "string int64 int64 int64 %!s(int64=3)",
        ),
        (
            r#"{{ printf "%T" (ternary (add 1 2) 0 true) }} {{ printf "%s" (coalesce .nope 0 (add 1 2)) }} {{ printf "%T" (coalesce (int64 0) (int 7)) }} {{ printf "%T" (default (int64 1) (int64 0)) }} {{ printf "%T" (default "x" (splitList "," "")) }}"#,
            "int64 %!s(int64=3) int int64 []string",
        ),
        (
            r#"{{ list (add 1 2) "a" | printf "%d" }} {{ list (add 1 2) | printf "%s" }} {{ printf "%s" (dict "a" (int64 1)) }} {{ printf "%v %d" (list (list (add 1 2))) (list (list (add 1 2))) }} {{ typeOf (list (add 1 2)) }}"#,
            "[3 %!d(string=a)] [%!s(int64=3)] map[a:%!s(int64=1)] [[3]] [[3]] []interface {}",
        ),
        (
            r#"{{ $t := toDate "2006-01-02" "2024-07-04" }}{{ printf "%T %v %d %02d %s %q %x" $t.Month $t.Month $t.Month $t.Month $t.Month $t.Month $t.Month }} {{ printf "%T %d %v" $t.Weekday $t.Weekday $t.Weekday }} {{ printf "%d" $t.UnixNano }} {{ kindOf $t.Month }} {{ typeOf $t.Weekday }} {{ printf "%5v|%-5v|" $t.Month $t.Weekday }}"#,
            r#"time.Month July 7 07 July "July" 4a756c79 time.Weekday 4 Thursday 1720051200000000000 int time.Weekday  July|Thursday|"#,
        ),
        (
            r#"{{ duration 95 }} {{ duration (int64 95) }} {{ duration "95" }} {{ duration (add 90 5) }} {{ duration 1.5 }} {{ durationRound (int64 95000000000) }} {{ durationRound 95000000000 }} {{ int64 3600 | duration }} {{ $n := mul 60 60 }}{{ duration $n }} {{ duration nil }}"#,
            "0s 1m35s 1m35s 1m35s 0s 1m 0s 1h0m0s 1h0m0s 0s",
        ),
        (
            r#"{{ printf "%T %T" (chunk 1 (list 1)) (slice (until 3) 1) }} {{ printf "%v" (chunk 2 (list 1 2 3)) }} {{ printf "%#v" (slice (splitList "," .csv) 1) }} {{ $d := dict "Month" "5" "Unix" "x" }}{{ printf "%T %T %d" $d.Month $d.Unix $d.Month }}"#,
            r#"[][]interface {} []int [[1 2] [3]] []string{"a", "c", "a"} string string %!d(string=5)"#,
        ),
    ]);
}

#[test]
fn what_is_too_long_fails() {
    use super::sprintf;
    use gotmpl::Value;
    let many = Value::List(vec![Value::Int(1); 100_000].into());
    for (format, args) in [("%900000d%900000d%900000d%900000d", vec![Value::Int(1); 4]), ("%9000v", vec![many])] {
        assert!(sprintf(format, &args).is_err(), "{format}");
    }
}

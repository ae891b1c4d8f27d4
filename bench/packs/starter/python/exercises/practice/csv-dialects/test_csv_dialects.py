import unittest

from csv_dialects import read, write


class ReadTest(unittest.TestCase):
    def test_plain_values(self) -> None:
        self.assertEqual(read("a,b\nc,d\n"), [["a", "b"], ["c", "d"]])
        self.assertEqual(read("a,b\r\nc,d"), [["a", "b"], ["c", "d"]])

    def test_empty_values_and_lines(self) -> None:
        self.assertEqual(read(""), [])
        self.assertEqual(read(",\n\n a ,"), [["", ""], [""], [" a ", ""]])
        self.assertEqual(read("\n"), [[""]])

    def test_quoted_values(self) -> None:
        self.assertEqual(read('"a,b",c\n'), [["a,b", "c"]])
        self.assertEqual(read('"two\nlines","x\r\ny"\n'), [["two\nlines", "x\r\ny"]])
        self.assertEqual(read('"she said ""no""",""\n""""'), [['she said "no"', ""], ['"']])

    def test_quotes_inside_other_values_are_letters(self) -> None:
        self.assertEqual(read('5" pipe,a""b\n'), [['5" pipe', 'a""b']])

    def test_other_dialects(self) -> None:
        self.assertEqual(read("'a;b';c,d\n", delimiter=";", quote="'"), [["a;b", "c,d"]])
        self.assertEqual(read("a\t\tb", delimiter="\t"), [["a", "", "b"]])

    def test_a_quoted_value_that_never_ends(self) -> None:
        with self.assertRaisesRegex(ValueError, "line 3"):
            read('a\nb\n"c\nd\n')

    def test_something_behind_a_quoted_value(self) -> None:
        with self.assertRaisesRegex(ValueError, "line 2"):
            read('a\n"b" ,c\n')
        with self.assertRaisesRegex(ValueError, "line 1"):
            read('"two\nlines"x')


class WriteTest(unittest.TestCase):
    def test_quotes_only_where_it_must(self) -> None:
        records = [["a", "b,c", '5" pipe'], ['"q"', "x\ny", ""], ["r\rs", " t "]]
        self.assertEqual(write(records), 'a,"b,c",5" pipe\n"""q""","x\ny",\n"r\rs", t \n')

    def test_nothing_and_other_dialects(self) -> None:
        self.assertEqual(write([]), "")
        self.assertEqual(write([["a;b", "c,d", "it's"]], delimiter=";", quote="'"), "'a;b';c,d;it's\n")

    def test_what_was_written_reads_back(self) -> None:
        records = [["", '"', ",", "\n"], ["\r\n", '""', " x"], [""]]
        for delimiter, quote in ((",", '"'), (";", "'"), ("\t", '"')):
            self.assertEqual(read(write(records, delimiter, quote), delimiter, quote), records)


class DialectTest(unittest.TestCase):
    def test_what_is_no_dialect_is_a_mistake(self) -> None:
        for delimiter, quote in (("", '"'), (",,", '"'), (",", ","), ("\n", '"'), (",", "")):
            with self.subTest(delimiter=delimiter, quote=quote):
                with self.assertRaises(ValueError):
                    read("a", delimiter, quote)
                with self.assertRaises(ValueError):
                    write([["a"]], delimiter, quote)


if __name__ == "__main__":
    unittest.main()

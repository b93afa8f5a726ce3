// Printable: no name of a file can act on a terminal.
#include "cli/printable.h"

#include <gtest/gtest.h>

#include <string>

namespace ckptfs::cli {
namespace {

TEST(Printable, LeavesTextAlone) {
  EXPECT_EQ(Printable(""), "");
  EXPECT_EQ(Printable("fc.weight [3, 4] 'x' \"y\""),
            "fc.weight [3, 4] 'x' \"y\"");
  EXPECT_EQ(Printable("\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80"),
            "\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80");
}

TEST(Printable, EscapesWhatActs) {
  EXPECT_EQ(Printable("a\nb\tc\\n\r"), "a\\nb\\tc\\\\n\\x0d");
  EXPECT_EQ(Printable(std::string_view("\0\x1b[31m\x7f", 7)),
            "\\x00\\x1b[31m\\x7f");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");           // C1: CSI
  EXPECT_EQ(Printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // right to left
  EXPECT_EQ(Printable("\xe2\x80\xa8"), "\\xe2\\x80\\xa8");  // line separator
  EXPECT_EQ(Printable("\xe2\x81\xa6"), "\\xe2\\x81\\xa6");  // isolate
}

TEST(Printable, EscapesWhatIsNoUtf8) {
  EXPECT_EQ(Printable("a\xff"
                      "b"),
            "a\\xffb");
  EXPECT_EQ(Printable("\xc3"), "\\xc3");           // cut short
  EXPECT_EQ(Printable("\xc0\x80"), "\\xc0\\x80");  // overlong
  EXPECT_EQ(Printable("\xe0\x80\x9b"), "\\xe0\\x80\\x9b");
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(Printable("\xe2x"), "\\xe2x");
}

}  // namespace
}  // namespace ckptfs::cli

#include "settings.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <set>
#include <string_view>
#include <utility>

namespace planet {
namespace {

enum class Kind { kNull, kBool, kNumber, kString, kList };

struct Value {
  Kind kind = Kind::kNull;
  std::string_view text;                // as it stands there; of a string what is inside
  std::vector<std::string_view> items;  // of a list
};

// Reads the grammar of settings.h; every function returns whether it found what it reads.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  bool object(std::vector<std::pair<std::string_view, Value>>& out) {
    if (!take('{')) return false;
    if (take('}')) return finished();
    do {
      Value value;
      std::string_view name;
      if (!string(name) || !take(':') || !this->value(value)) return false;
      out.emplace_back(name, std::move(value));
    } while (take(','));
    return take('}') && finished();
  }

 private:
  void skip_space() {
    while (!rest_.empty() && std::string_view(" \t\n\r").find(rest_.front()) != rest_.npos) {
      rest_.remove_prefix(1);
    }
  }

  // The character, and space around it.
  bool take(char wanted) {
    skip_space();
    if (rest_.empty() || rest_.front() != wanted) return false;
    rest_.remove_prefix(1);
    skip_space();
    return true;
  }

  bool finished() const { return rest_.empty(); }

  bool string(std::string_view& out) {
    if (rest_.empty() || rest_.front() != '"') return false;
    size_t end = 1;
    while (end < rest_.size() && rest_[end] != '"') {
      if (rest_[end] < ' ' || rest_[end] > '~' || rest_[end] == '\\') return false;
      ++end;
    }
    if (end == rest_.size()) return false;
    out = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    skip_space();
    return true;
  }

  size_t digits(size_t from) const {
    size_t end = from;
    while (end < rest_.size() && rest_[end] >= '0' && rest_[end] <= '9') ++end;
    return end - from;
  }

  char at(size_t i) const { return i < rest_.size() ? rest_[i] : '\0'; }

  // -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
  bool number(std::string_view& out) {
    size_t end = at(0) == '-' ? 1 : 0;
    const size_t whole = at(end) == '0' ? 1 : digits(end);
    if (whole == 0) return false;
    end += whole;
    if (at(end) == '.') {
      const size_t count = digits(end + 1);
      if (count == 0) return false;
      end += 1 + count;
    }
    if (at(end) == 'e' || at(end) == 'E') {
      ++end;
      if (at(end) == '+' || at(end) == '-') ++end;
      const size_t count = digits(end);
      if (count == 0) return false;
      end += count;
    }
    out = rest_.substr(0, end);
    rest_.remove_prefix(end);
    skip_space();
    return true;
  }

  bool word(const char* wanted, Kind kind, Value& out) {
    const std::string_view word(wanted);
    if (rest_.substr(0, word.size()) != word) return false;
    out = {kind, word, {}};
    rest_.remove_prefix(word.size());
    skip_space();
    return true;
  }

  bool list(Value& out) {
    out.kind = Kind::kList;
    if (!take('[')) return false;
    if (take(']')) return true;
    do {
      out.items.emplace_back();
      if (!number(out.items.back())) return false;
    } while (take(','));
    return take(']');
  }

  bool value(Value& out) {
    switch (at(0)) {
      case '"':
        out.kind = Kind::kString;
        return string(out.text);
      case '[':
        return list(out);
      case 'n':
        return word("null", Kind::kNull, out);
      case 't':
        return word("true", Kind::kBool, out);
      case 'f':
        return word("false", Kind::kBool, out);
      default:
        out.kind = Kind::kNumber;
        return number(out.text);
    }
  }

  std::string_view rest_;
};

// The whole text as a number of this type; false where it is none, or beyond the type.
template <class T>
bool read_number(std::string_view text, T& out) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  out = value;
  return true;
}

// Each of these returns what was expected if `value` is something else, or null.

const char* read(const Value& value, int64_t& out) {
  const bool read = value.kind == Kind::kNumber && read_number(value.text, out);
  return read ? nullptr : "an integer";
}

const char* read(const Value& value, double& out) {
  const bool read = value.kind == Kind::kNumber && read_number(value.text, out);
  return read ? nullptr : "a number within float64's range";
}

const char* read(const Value& value, bool& out) {
  if (value.kind != Kind::kBool) return "true or false";
  out = value.text == "true";
  return nullptr;
}

const char* read(const Value& value, float& out) {
  double wide;
  const char* expected = read(value, wide);
  if (expected == nullptr) out = static_cast<float>(wide);
  return expected;
}

const char* read(const Value& value, std::string& out) {
  if (value.kind != Kind::kString) return "a string";
  out = value.text;
  return nullptr;
}

// One of the names, in the order of what they stand for.
template <class Choice>
const char* choose(const Value& value, std::initializer_list<std::string_view> names,
                   const char* expected, Choice& out) {
  const auto found = std::find(names.begin(), names.end(), value.text);
  if (value.kind != Kind::kString || found == names.end()) return expected;
  out = static_cast<Choice>(found - names.begin());
  return nullptr;
}

const char* read(const Value& value, Spread& out) {
  return choose(value, {"population", "mean_absolute"}, "population or mean_absolute", out);
}

const char* read(const Value& value, Numerics& out) {
  return choose(value, {"unit", "icem"}, "unit or icem", out);
}

const char* read(const Value& value, Output& out) {
  return choose(value, {"mean", "best"}, "mean or best", out);
}

const char* read(const Value& value, Shift& out) {
  return choose(value, {"none", "repeat", "middle"}, "none, repeat or middle", out);
}

const char* read(const Value& value, Precision& out) {
  for (int i = 0; value.kind == Kind::kString && i < kPrecisions; ++i) {
    if (value.text == precision_name(static_cast<Precision>(i))) {
      out = static_cast<Precision>(i);
      return nullptr;
    }
  }
  return "fp32, int8, fp16 or bf16";
}

// Null leaves the default, which stands for none.
const char* read_or_null(const Value& value, double& out) {
  if (value.kind == Kind::kNull) return nullptr;
  return read(value, out) == nullptr ? nullptr : "a number within float64's range, or null";
}

const char* read_bound(const Value& value, float& one, std::vector<float>& each) {
  const char* const kExpected = "a number within float64's range, or a list of 1 to 512 of them";
  if (value.kind != Kind::kList) return read(value, one) == nullptr ? nullptr : kExpected;
  if (value.items.empty() || value.items.size() > static_cast<size_t>(kMaxSize)) return kExpected;
  for (const std::string_view item : value.items) {
    double wide;
    if (!read_number(item, wide)) return kExpected;
    each.push_back(static_cast<float>(wide));
  }
  return nullptr;
}

const char* read_setting(std::string_view name, const Value& value, PlannerSettings& out) {
  if (name == "horizon") return read(value, out.horizon);
  if (name == "candidates") return read(value, out.candidates);
  if (name == "iterations") return read(value, out.iterations);
  if (name == "topk") return read(value, out.topk);
  if (name == "initial_stddev") return read(value, out.initial_stddev);
  if (name == "spread") return read(value, out.spread);
  if (name == "epsilon") return read(value, out.epsilon);
  if (name == "colour") return read(value, out.colour);
  if (name == "numerics") return read(value, out.numerics);
  if (name == "decay") return read(value, out.decay);
  if (name == "keep") return read(value, out.keep);
  if (name == "momentum") return read(value, out.momentum);
  if (name == "temperature") return read_or_null(value, out.temperature);
  if (name == "output") return read(value, out.output);
  if (name == "shift") return read(value, out.shift);
  if (name == "planner") return read(value, out.planner);
  if (name == "low") return read_bound(value, out.low, out.lows);
  if (name == "high") return read_bound(value, out.high, out.highs);
  if (name == "state_noise") return read(value, out.state_noise);
  if (name == "discount") return read(value, out.discount);
  if (name == "precision") return read(value, out.precision);
  if (name == "budget_ms") return read_or_null(value, out.budget_ms);
  if (name == "action_repeat") return read(value, out.action_repeat);
  if (name == "exploration_stddev") return read(value, out.exploration_stddev);
  if (name == "render_size") return read(value, out.render_size);
  return nullptr;
}

const char* name_of(const Value& value) {
  switch (value.kind) {
    case Kind::kNull:
      return "null";
    case Kind::kBool:
      return value.text == "true" ? "true" : "false";
    case Kind::kNumber:
      return "a number";
    case Kind::kString:
      return "a string";
    default:
      return "a list";
  }
}

}  // namespace

std::string read_settings(const char* text, size_t size, PlannerSettings& settings) {
  std::vector<std::pair<std::string_view, Value>> values;
  if (!Parser(std::string_view(text, size)).object(values)) {
    return "settings: expected a flat JSON object of numbers, strings, true, false, null and lists "
           "of numbers";
  }
  std::set<std::string_view> names;
  PlannerSettings out;
  for (const auto& [name, value] : values) {
    if (!names.insert(name).second) return "settings: expected every name once";
    const char* expected = read_setting(name, value, out);
    if (expected != nullptr) {
      return "settings." + std::string(name) + ": expected " + expected + ", got " + name_of(value);
    }
  }
  settings = std::move(out);
  return {};
}

}  // namespace planet

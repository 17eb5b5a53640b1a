// SPDX-License-Identifier: Apache-2.0
#include "millet/report/jsonl.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <concepts>
#include <cstdio>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

namespace millet {

namespace {

using Json = nlohmann::ordered_json;  // keeps the order of the fields

constexpr int depth_limit = 8;

// What the writer puts at the start of a line; a torn record begins with it.
constexpr std::string_view record_start = R"({"schema":)";

template <class R, class T>
concept MaybeConst = std::same_as<std::remove_const_t<R>, T>;

// The fields of each struct, once for the writer and the reader; `x` is called with each key and member.

void fields(auto& x, MaybeConst<RecordCase> auto& r) {
  x("preset", r.preset);
  x("label", r.label);
  x("tp", r.tp);
  x("operation", r.operation);
  x("m", r.m);
  x("n", r.n);
  x("k", r.k);
  x("experts", r.experts);
  x("slots", r.slots);
  x("a_div", r.a_div);
  x("block_m", r.block_m);
  x("weighted", r.weighted);
  x("activation", r.activation);
  x("output", r.output);
  x("scale_mode", r.scale_mode);
  x("weight_layout", r.weight_layout);
  x("backend", r.backend);
  x("kernel", r.kernel);
  x("policy", r.policy);
  x("chosen", r.chosen);
  x("execution_space", r.execution_space);
  x("threads", r.threads);
  x("protocol", r.protocol);
  x("seed", r.seed);
  x("epilogue", r.epilogue);
  x("weights", r.weights);
}
void fields(auto& x, MaybeConst<RecordResult> auto& r) {
  x("n", r.n);
  x("median_ns", r.median_ns);
  x("ci95_lo_ns", r.ci95_lo_ns);
  x("ci95_hi_ns", r.ci95_hi_ns);
  x("min_ns", r.min_ns);
  x("mad_ns", r.mad_ns);
  x("samples_ns", r.samples_ns);
}
void fields(auto& x, MaybeConst<RecordWork> auto& r) {
  x("bytes", r.bytes);
  x("flops", r.flops);
  x("touched_experts", r.touched_experts);
}
void fields(auto& x, MaybeConst<RecordReadRate> auto& r) {
  x("footprint_bytes", r.footprint_bytes);
  x("bytes_per_second", r.bytes_per_second);
}
void fields(auto& x, MaybeConst<RecordRoof> auto& r) {
  x("read_bytes_per_second", r.read_bytes_per_second);
  x("fma_flops_per_second", r.fma_flops_per_second);
  x("source", r.source);
  x("pct_of_read", r.pct_of_read);
  x("pct_of_fma", r.pct_of_fma);
  x("lower_bound_ns", r.lower_bound_ns);
  x("above_roof", r.above_roof);
  x.if_any("read_by_level", r.read_by_level);
}
void fields(auto& x, MaybeConst<RecordVerify> auto& r) {
  x("mode", r.mode);
  x("max_ratio", r.max_ratio);
  x("mismatch_fraction", r.mismatch_fraction);
  x("correct", r.correct);
  x("verdict", r.verdict);
}
void fields(auto& x, MaybeConst<RecordBaseline> auto& r) {
  x("name", r.name);
  x("role", r.role);
  x("n", r.n);
  x("median_ns", r.median_ns);
  x("ci95_lo_ns", r.ci95_lo_ns);
  x("ci95_hi_ns", r.ci95_hi_ns);
  x("detail", r.detail);
}
void fields(auto& x, MaybeConst<RecordPublished> auto& r) {
  x("speedup", r.speedup);
  x("device", r.device);
  x("baseline", r.baseline);
  x("source", r.source);
  x("note", r.note);
}
void fields(auto& x, MaybeConst<RecordCache> auto& r) {
  x("mode", r.mode);
  x("copies", r.copies);
  x("footprint_bytes", r.footprint_bytes);
  x("last_level_cache_bytes", r.last_level_cache_bytes);
}
void fields(auto& x, MaybeConst<RecordClock> auto& r) {
  x("source", r.source);
  x("before_ghz", r.before_ghz);
  x("after_ghz", r.after_ghz);
  x("throttled", r.throttled);
}
void fields(auto& x, MaybeConst<RecordEnv> auto& r) {
  x("device", r.device);
  x("architecture", r.architecture);
  x("compute_units", r.compute_units);
  x("runtime", r.runtime);
  x("cpu", r.cpu);
  x("cores", r.cores);
  x("affinity", r.affinity);
  x("governor", r.governor);
  x("os", r.os);
  x("huge_pages", r.huge_pages);
  x("warnings", r.warnings);
}
void fields(auto& x, MaybeConst<RecordBuild> auto& r) {
  x("git", r.git);
  x("dirty", r.dirty);
  x("compiler", r.compiler);
  x("flags", r.flags);
  x("type", r.type);
  x("sanitizer", r.sanitizer);
  x("libraries", r.libraries);
}
void fields(auto& x, MaybeConst<RecordRun> auto& r) {
  x("seed", r.seed);
  x("command_line", r.command_line);
  x("start", r.start);
  x("host_hash", r.host_hash);
  x("load", r.load);
}
void fields(auto& x, MaybeConst<RecordTuned> auto& r) {
  x("row", r.row);
  x("rejected_rows", r.rejected_rows);
}
void fields(auto& x, MaybeConst<Record> auto& r) {
  x("case_id", r.case_id);
  x("build_id", r.build_id);
  x("evidence", r.evidence);
  x("note", r.note);
  x("case", r.subject);
  x("result", r.result);
  x("work", r.work);
  x("roof", r.roof);
  x("verify", r.verify);
  x("baselines", r.baselines);
  x("published", r.published);
  x("cache", r.cache);
  x("clock", r.clock);
  x("env", r.env);
  x("build", r.build);
  x("run", r.run);
  x("tuned", r.tuned);
  x("repro", r.repro);
  x("tags", r.tags);
}

// Builds a JSON object from fields and remembers the first complaint about one, with its path.
class Encoder {
 public:
  explicit Encoder(std::string path = "") : path_(std::move(path)) {}

  template <class T>
  void operator()(const char* key, const T& value) {
    put(json_[key], path_ + key, value);
  }
  template <class T>
  void operator()(const char* key, const std::optional<T>& value) {
    if (value) (*this)(key, *value);
  }

  /// A list that older files do not have: left out when it is empty.
  template <class T>
  void if_any(const char* key, const std::vector<T>& values) {
    if (!values.empty()) (*this)(key, values);
  }

  [[nodiscard]] Json& json() noexcept { return json_; }
  [[nodiscard]] std::string& complaint() noexcept { return complaint_; }

 private:
  void put(Json& to, const std::string& path, double value) {
    if (!std::isfinite(value) || value < 0) complain(fmt::format("{} is {}", path, value));
    to = value;
  }
  void put(Json& to, const std::string& path, Index value) {
    if (value < 0) complain(fmt::format("{} is {}", path, value));
    to = value;
  }
  void put(Json& to, const std::string&, std::uint64_t value) { to = value; }
  void put(Json& to, const std::string&, bool value) { to = value; }
  void put(Json& to, const std::string&, const std::string& value) { to = value; }
  void put(Json& to, const std::string&, Evidence value) { to = std::string(to_string(value)); }
  void put(Json& to, const std::string&, const std::map<std::string, std::string>& values) {
    to = Json::object();
    for (const auto& [name, value] : values) to[name] = value;
  }
  template <class T>
  void put(Json& to, const std::string& path, const std::vector<T>& values) {
    to = Json::array();
    for (std::size_t i = 0; i < values.size(); ++i) put(to.emplace_back(), fmt::format("{}[{}]", path, i), values[i]);
  }
  template <class T>
  void put(Json& to, const std::string& path, const T& value) {
    Encoder inner(path + ".");
    fields(inner, value);
    to = std::move(inner.json_);
    if (!inner.complaint_.empty()) complain(std::move(inner.complaint_));
  }

  void complain(std::string what) {
    if (complaint_.empty()) complaint_ = std::move(what);
  }

  std::string path_;
  std::string complaint_;
  Json json_ = Json::object();
};

// Takes fields out of a JSON object and remembers the first complaint, with its path.
class Decoder {
 public:
  explicit Decoder(const Json& json, std::string path = "") : json_(json), path_(std::move(path)) {}

  template <class T>
  void operator()(const char* key, T& value) {
    const auto found = json_.find(key);
    if (found == json_.end()) return complain(path_ + key + " is missing");
    get(*found, path_ + key, value);
  }
  template <class T>
  void operator()(const char* key, std::optional<T>& value) {
    if (json_.contains(key)) (*this)(key, value.emplace());
  }
  template <class T>
  void if_any(const char* key, std::vector<T>& values) {
    if (json_.contains(key)) (*this)(key, values);
  }

  [[nodiscard]] const std::string& complaint() const noexcept { return complaint_; }

 private:
  void get(const Json& from, const std::string& path, double& value) {
    if (!from.is_number()) return wants(path, "a number", from);
    value = from.get<double>();
    if (value < 0) complain(fmt::format("{} is {}", path, value));
  }
  void get(const Json& from, const std::string& path, std::uint64_t& value) {
    if (!from.is_number_unsigned()) return wants(path, "an integer of at least 0", from);
    value = from.get<std::uint64_t>();
  }
  void get(const Json& from, const std::string& path, Index& value) {
    std::uint64_t wide = 0;
    get(from, path, wide);
    if (wide > std::uint64_t{std::numeric_limits<Index>::max()}) return complain(fmt::format("{} is {}", path, wide));
    value = static_cast<Index>(wide);
  }
  void get(const Json& from, const std::string& path, bool& value) {
    if (!from.is_boolean()) return wants(path, "true or false", from);
    value = from.get<bool>();
  }
  void get(const Json& from, const std::string& path, std::string& value) {
    if (!from.is_string()) return wants(path, "a text", from);
    value = from.get<std::string>();
  }
  void get(const Json& from, const std::string& path, Evidence& value) {
    std::string name;
    get(from, path, name);
    for (const Evidence evidence :
         {Evidence::measured, Evidence::emulated, Evidence::modelled, Evidence::published, Evidence::not_run}) {
      if (name == to_string(evidence)) {
        value = evidence;
        return;
      }
    }
    complain(fmt::format("{} is '{}'", path, name));
  }
  void get(const Json& from, const std::string& path, std::map<std::string, std::string>& values) {
    if (!from.is_object()) return wants(path, "an object of texts", from);
    for (const auto& item : from.items()) get(item.value(), path + "." + item.key(), values[item.key()]);
  }
  template <class T>
  void get(const Json& from, const std::string& path, std::vector<T>& values) {
    if (!from.is_array()) return wants(path, "an array", from);
    values.reserve(from.size());
    for (const Json& element : from) {
      const std::string element_path = fmt::format("{}[{}]", path, values.size());
      get(element, element_path, values.emplace_back());
    }
  }
  template <class T>
  void get(const Json& from, const std::string& path, T& value) {
    if (!from.is_object()) return wants(path, "an object", from);
    Decoder inner(from, path + ".");
    fields(inner, value);
    if (!inner.complaint_.empty()) complain(inner.complaint_);
  }

  void wants(const std::string& path, const char* wanted, const Json& got) {
    complain(fmt::format("{} must be {}, not {}", path, wanted, got.is_number() ? got.dump() : got.type_name()));
  }
  void complain(const std::string& what) {
    if (complaint_.empty()) complaint_ = what;
  }

  const Json& json_;
  std::string path_;
  std::string complaint_;
};

std::string unknown_name(const char* field, const std::string& name, std::initializer_list<std::string_view> known) {
  if (std::find(known.begin(), known.end(), name) != known.end()) return "";
  return fmt::format("{} is '{}', not one of {}", field, name, fmt::join(known, ", "));
}

// What types alone do not tell: names, identities, and times that contradict each other.
std::string contradiction_in(const Record& r) {
  for (std::string complaint : {unknown_name("case.operation", r.subject.operation, {"dense", "grouped"}),
                                unknown_name("cache.mode", r.cache.mode, {"cold", "warm", "hot"})}) {
    if (!complaint.empty()) return complaint;
  }
  if (r.subject.m < 1 || r.subject.n < 1 || r.subject.k < 1) return "case: m, n and k must be at least 1";
  if (const std::string id = case_id(r.subject); id != r.case_id) {
    return fmt::format("case_id is '{}', but the case has {}", r.case_id, id);
  }
  if (const std::string id = build_id(r.build); id != r.build_id) {
    return fmt::format("build_id is '{}', but the build has {}", r.build_id, id);
  }
  const RecordResult& t = r.result;
  if (t.n > 0 &&
      !(t.median_ns > 0 && t.min_ns <= t.median_ns && t.ci95_lo_ns <= t.median_ns && t.median_ns <= t.ci95_hi_ns)) {
    return "result: wanted 0 < median_ns, min_ns <= median_ns and ci95_lo_ns <= median_ns <= ci95_hi_ns";
  }
  if (!t.samples_ns.empty() && static_cast<Index>(t.samples_ns.size()) != t.n) {
    return fmt::format("result.samples_ns has {} elements, n is {}", t.samples_ns.size(), t.n);
  }
  for (const RecordBaseline& b : r.baselines) {
    if (std::string complaint = unknown_name("baselines.role", b.role, {"performance", "correctness", "floor"});
        !complaint.empty()) {
      return complaint;
    }
    if (b.n > 0 && !(b.median_ns > 0 && b.ci95_lo_ns <= b.median_ns && b.median_ns <= b.ci95_hi_ns)) {
      return "baselines: wanted 0 < median_ns and ci95_lo_ns <= median_ns <= ci95_hi_ns";
    }
  }
  return "";
}

// Watches the parser: stops it from building what is too deep, and sees keys that an object would merge.
class StructureCheck {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    if (!complaint_.empty()) return false;
    switch (event) {
      case Json::parse_event_t::object_start:
      case Json::parse_event_t::array_start:
        if (depth >= depth_limit) complaint_ = fmt::format("nested deeper than {}", depth_limit);
        if (event == Json::parse_event_t::object_start) keys_.emplace_back();
        break;
      case Json::parse_event_t::object_end:
        keys_.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!keys_.back().insert(parsed.get<std::string>()).second) {
          complaint_ = fmt::format("the key {} stands twice in one object", parsed.dump());
        }
        break;
      default:
        break;
    }
    return complaint_.empty();
  }
  [[nodiscard]] const std::string& complaint() const noexcept { return complaint_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string complaint_;
};

// Messages quote the file; what does not print stays out of people's terminals.
tl::unexpected<Error> refuse(std::string message) {
  for (char& c : message) c = c >= ' ' && c < 0x7F ? c : '?';
  return fail(ErrorCode::parse_error, "{}", message);
}

std::string system_reason(int error) { return std::generic_category().message(error); }

tl::unexpected<Error> io_failure(std::string_view what, const std::filesystem::path& path, int error) {
  return fail(ErrorCode::io_error, "{} {}: {}", what, path.string(), system_reason(error));
}

// The first error that writing all of `text` meets, or 0.
int write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

// Makes a regular file end with a whole line: cuts a torn record off, ends any other line. Returns an error or 0.
int end_last_line(int file) {
  struct stat status {};
  if (::fstat(file, &status) != 0) return errno;
  if (!S_ISREG(status.st_mode) || status.st_size == 0) return 0;

  // Where the last line starts, found from the end in blocks.
  std::string tail;
  off_t begin = status.st_size;
  std::size_t line_start = std::string::npos;
  while (begin > 0 && line_start == std::string::npos) {
    std::array<char, 4096> block;
    const auto length = static_cast<std::size_t>(std::min<off_t>(begin, static_cast<off_t>(block.size())));
    begin -= static_cast<off_t>(length);
    const ssize_t got = ::pread(file, block.data(), length, begin);
    if (got < 0) return errno;
    if (static_cast<std::size_t>(got) != length) return EIO;
    tail.insert(0, block.data(), length);
    if (tail.back() == '\n') return 0;
    line_start = tail.rfind('\n', length - 1);
  }
  const std::size_t start = line_start == std::string::npos ? 0 : line_start + 1;
  const std::string_view line = std::string_view(tail).substr(start);
  const bool torn = line.starts_with(record_start.substr(0, line.size())) && !Json::accept(line);
  if (!torn) return write_all(file, "\n");
  return ::ftruncate(file, begin + static_cast<off_t>(start)) == 0 ? 0 : errno;
}

}  // namespace

Expected<std::string> to_json_line(const Record& record) {
  Record finite = record;
  finite.verify.max_ratio = std::min(finite.verify.max_ratio, std::numeric_limits<double>::max());
  Encoder encoder;
  encoder("schema", Index{record_schema});
  fields(encoder, std::as_const(finite));
  if (encoder.complaint().empty()) encoder.complaint() = contradiction_in(finite);
  if (!encoder.complaint().empty()) return fail(ErrorCode::invalid_argument, "record: {}", encoder.complaint());
  return encoder.json().dump(-1, ' ', false, Json::error_handler_t::replace);
}

Expected<Record> parse_record(std::string_view line) {
  StructureCheck check;
  Json json;
  try {
    json = Json::parse(line, std::ref(check));
  } catch (const Json::exception& error) {
    return refuse(check.complaint().empty() ? error.what() : check.complaint());
  }
  if (!check.complaint().empty()) return refuse(check.complaint());
  if (!json.is_object()) return fail(ErrorCode::parse_error, "wanted an object, not {}", json.type_name());

  Record record;
  Decoder decoder(json);
  Index schema = 0;
  decoder("schema", schema);
  if (decoder.complaint().empty() && schema != record_schema) {
    return fail(ErrorCode::parse_error, "schema {} is not {}, which this program reads", schema, record_schema);
  }
  fields(decoder, record);
  if (!decoder.complaint().empty()) return refuse(decoder.complaint());
  if (const std::string complaint = contradiction_in(record); !complaint.empty()) return refuse(complaint);
  return record;
}

Expected<JsonlWriter> JsonlWriter::open(const std::filesystem::path& path) {
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) return io_failure("cannot create", path.parent_path(), error.value());
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return io_failure("cannot open", path, errno);
  JsonlWriter writer(path, file);  // closes the file
  if (::flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return fail(ErrorCode::io_error, "cannot write {}: another process writes to it", path.string());
  }
  if (const int failed = end_last_line(file); failed != 0) return io_failure("cannot write", path, failed);
  return writer;
}

JsonlWriter::JsonlWriter(JsonlWriter&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}

JsonlWriter& JsonlWriter::operator=(JsonlWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  return *this;
}

JsonlWriter::~JsonlWriter() {
  if (file_ >= 0) ::close(file_);
}

Expected<void> JsonlWriter::append(const Record& record) {
  Expected<std::string> line = to_json_line(record);
  if (!line) return fail(std::move(line));
  *line += '\n';
  const off_t whole = ::lseek(file_, 0, SEEK_END);
  if (const int error = write_all(file_, *line); error != 0) {
    // On a full disk a part of the line may be in the file.
    if (whole >= 0 && ::ftruncate(file_, whole) != 0) {
      return fail(ErrorCode::io_error, "cannot write {}: {}; the torn last line remains", path_.string(),
                  system_reason(error));
    }
    return io_failure("cannot write", path_, error);
  }
  return {};
}

Expected<JsonlContents> read_jsonl(const std::filesystem::path& path, bool strict) {
  std::string text;
  {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file) return io_failure("cannot read", path, errno);
    std::array<char, 65536> block;
    while (const std::size_t length = std::fread(block.data(), 1, block.size(), file.get()))
      text.append(block.data(), length);
    if (std::ferror(file.get()) != 0) return io_failure("cannot read", path, errno);
  }

  JsonlContents contents;
  std::string_view rest = text;
  for (int line_number = 1; !rest.empty(); ++line_number) {
    const auto end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Expected<Record> record = parse_record(line);
    if (record) {
      contents.records.push_back(*std::move(record));
      continue;
    }
    const std::string_view torn = end == std::string_view::npos ? "torn last line: " : "";
    contents.bad_lines.push_back(fmt::format("{}:{}: {}{}", path.string(), line_number, torn, record.error().message));
    if (strict) return fail(ErrorCode::parse_error, "{}", contents.bad_lines.back());
  }
  return contents;
}

}  // namespace millet

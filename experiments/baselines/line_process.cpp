// SPDX-License-Identifier: Apache-2.0
#include "baselines/line_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace millet {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t longest_line = std::size_t{1} << 20;
constexpr auto time_to_end = std::chrono::seconds(2);

// Only calls that are safe between fork and exec.
[[noreturn]] void become(const char* command, int input_and_output, int errors) {
  setpgid(0, 0);
  dup2(input_and_output, STDIN_FILENO);
  dup2(input_and_output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  execl("/bin/sh", "sh", "-c", command, nullptr);
  _exit(127);
}

}  // namespace

Expected<std::unique_ptr<LineProcess>> LineProcess::start(const std::string& command) {
  std::unique_ptr<LineProcess> process(new LineProcess);
  process->errors_.reset(std::tmpfile());
  // A socket and not two pipes: sending to a process that is gone is then an error and no signal.
  int ends[2] = {-1, -1};
  if (process->errors_ == nullptr || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail(ErrorCode::io_error, "cannot start '{}': {}", command, std::strerror(errno));
  }
  process->socket_ = ends[0];
  const int errors = fileno(process->errors_.get());
  fcntl(errors, F_SETFL, O_APPEND);  // the child and everything it starts write to the end
  process->pid_ = fork();
  if (process->pid_ == 0) become(command.c_str(), ends[1], errors);
  const int reason = errno;
  close(ends[1]);
  if (process->pid_ < 0) return fail(ErrorCode::io_error, "cannot start '{}': {}", command, std::strerror(reason));
  setpgid(process->pid_, process->pid_);  // whichever of the two comes first
  return process;
}

LineProcess::~LineProcess() {
  if (socket_ >= 0) close(socket_);
  if (pid_ > 0) static_cast<void>(ending());
}

void LineProcess::kill_group() noexcept { kill(-pid_, SIGKILL); }

std::string LineProcess::ending() {
  const auto limit = Clock::now() + time_to_end;
  int status = 0;
  pid_t ended = 0;
  while ((ended = waitpid(pid_, &status, WNOHANG)) == 0 && Clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  kill_group();  // with what it started
  if (ended == 0) ended = waitpid(pid_, &status, 0);
  pid_ = -1;
  if (ended > 0 && WIFSIGNALED(status)) return fmt::format("it was ended by signal {}", WTERMSIG(status));
  if (ended > 0 && WIFEXITED(status)) return fmt::format("it ended with exit code {}", WEXITSTATUS(status));
  return "it ended";
}

std::string LineProcess::last_words() const {
  constexpr off_t most = 4096;
  const int file = fileno(errors_.get());
  const off_t size = lseek(file, 0, SEEK_END);
  const off_t from = std::max<off_t>(0, size - most);
  std::string text(static_cast<std::size_t>(size - from), '\0');
  const ssize_t got = pread(file, text.data(), text.size(), from);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  while (!text.empty() && std::strchr(" \n\r\t", text.back()) != nullptr) text.pop_back();
  if (const auto line = text.rfind('\n'); line != std::string::npos) text.erase(0, line + 1);
  return text.empty() ? "" : fmt::format("; its last words: {}", text);
}

Expected<std::string> LineProcess::exchange(std::string_view line, double limit) {
  if (pid_ <= 0) return fail(ErrorCode::io_error, "it has ended before");
  const auto give_up = [&](std::string what) {
    kill_group();
    static_cast<void>(ending());
    return fail(ErrorCode::io_error, "{}{}", what, last_words());
  };
  const std::string sent = std::string(line) + '\n';
  const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limit));
  std::size_t at = 0;
  std::vector<char> buffer(std::size_t{1} << 16);
  while (true) {
    if (const auto end = unread_.find('\n'); at == sent.size() && end != std::string::npos) {
      std::string answer = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return answer;
    }
    if (unread_.size() > longest_line) {
      return give_up(fmt::format("it wrote {} bytes without a line end, and was killed", unread_.size()));
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return give_up(fmt::format("it did not answer within {:g} s, and was killed", limit));
    pollfd wait{socket_, static_cast<short>(at < sent.size() ? POLLIN | POLLOUT : POLLIN), 0};
    if (poll(&wait, 1, static_cast<int>(std::min<long long>(left, 1000))) < 0 && errno != EINTR) {
      return give_up(fmt::format("waiting for it failed: {}", std::strerror(errno)));
    }
    if ((wait.revents & POLLOUT) != 0 && at < sent.size()) {
      const ssize_t done = send(socket_, sent.data() + at, sent.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (done > 0) at += static_cast<std::size_t>(done);
    }
    if ((wait.revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    const ssize_t got = recv(socket_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
      unread_.append(buffer.data(), static_cast<std::size_t>(got));
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      const std::string end = ending();
      return fail(ErrorCode::io_error, "{} before it answered{}", end, last_words());
    }
  }
}

}  // namespace millet

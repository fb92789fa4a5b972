
/* Answers gets that are sure hits, one after the other: the compiled twin of what flows/cacheprog.py does with them.
 *
 * Knows:     a get exactly as go writes it, an index entry exactly as go writes it, and one record of the table of marks.
 * Called by: hits.py, if a compiler was there when this package was installed.
 * Never:     decides anything: what is not a get, has no mark that fits, was last used an hour ago, or is odd in any way is given
 *            back unread, and Python does it. Writes nothing but replies, holds no more than one buffer, follows no link.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 17, ID = 32, ENTRY = 175, RECORD = 96, PLACES = 8, BUCKETS = 1 << 14, SEAL = 15, LONGEST = 4096 };
enum { NOT_SURE = 0, MISS = 1, HIT = 2 };
static const int64_t BILLION = 1000000000, HOUR_NS = 3600 * (int64_t)1000000000;
static const char BEGIN[] = "{\"ID\":", GET[] = ",\"Command\":\"get\",\"ActionID\":\"";
static const unsigned char NONE = 0xff; /* in the two tables: no such letter */
static unsigned char of_hex[256], of_letter[256];
static uint32_t of_crc[256];
static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char HEX[] = "0123456789abcdef";
static const char EMPTY[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct serving {
    int inlet, outlet, table, verify, misses;
    const char *root, *shown;
    size_t root_size, shown_size;
    char *in, *out, *log;
    size_t in_size, out_size, log_size, log_room;
    int64_t gets, hits, hit_size;
    int logs, over;
};

struct found {
    unsigned char action[ID], output[ID];
    char action_hex[2 * ID], output_hex[2 * ID];
    uint64_t number;
    int64_t size, time_ns;
};

/* Worked out once, when the module is loaded: a lookup has 140 letters. */
static void fill_tables(void)
{
    memset(of_hex, NONE, sizeof of_hex);
    memset(of_letter, NONE, sizeof of_letter);
    for (int at = 0; at < 16; at++)
        of_hex[(unsigned char)HEX[at]] = (unsigned char)at;
    for (int at = 0; at < 64; at++)
        of_letter[(unsigned char)LETTERS[at]] = (unsigned char)at;
    for (uint32_t at = 0; at < 256; at++) {
        of_crc[at] = at;
        for (int bit = 0; bit < 8; bit++)
            of_crc[at] = of_crc[at] >> 1 ^ (of_crc[at] & 1 ? 0xedb88320 : 0);
    }
}

static void to_hex(const unsigned char *bytes, char *hex)
{
    for (int at = 0; at < ID; at++) {
        hex[2 * at] = HEX[bytes[at] >> 4];
        hex[2 * at + 1] = HEX[bytes[at] & 15];
    }
}

static int from_hex(const char *hex, unsigned char *bytes)
{
    for (int at = 0; at < ID; at++) {
        unsigned char high = of_hex[(unsigned char)hex[2 * at]], low = of_hex[(unsigned char)hex[2 * at + 1]];
        if (high == NONE || low == NONE)
            return 0;
        bytes[at] = (unsigned char)(high << 4 | low);
    }
    return 1;
}

/* 43 letters and one `=` are 32 bytes and two bits that go leaves zero. */
static int from_base64(const char *text, unsigned char *bytes)
{
    uint32_t bits = 0;
    int held = 0, at = 0;

    for (int letter = 0; letter < 43; letter++) {
        unsigned char value = of_letter[(unsigned char)text[letter]];
        if (value == NONE)
            return 0;
        bits = bits << 6 | value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[at++] = (unsigned char)(bits >> held);
        }
    }
    return text[43] == '=' && (bits & ((1u << held) - 1)) == 0 && at == ID;
}

static void to_base64(const unsigned char *bytes, char *text)
{
    for (int at = 0; at < 33; at += 3, text += 4) {
        uint32_t bits = (uint32_t)bytes[at] << 16 | (uint32_t)bytes[at + 1] << 8 | (at + 2 < ID ? bytes[at + 2] : 0);
        for (int letter = 0; letter < 4; letter++)
            text[letter] = LETTERS[bits >> (18 - 6 * letter) & 63];
    }
    text[-1] = '=';
}

/* `{"ID":N,"Command":"get","ActionID":"..."}` and nothing else. */
static int parse_get(const char *line, size_t size, struct found *found)
{
    size_t at = sizeof BEGIN - 1, digits = 0;

    if (size < at + 1 + sizeof GET - 1 + 46 || memcmp(line, BEGIN, at) != 0)
        return 0;
    for (found->number = 0; digits < 18 && line[at] >= '0' && line[at] <= '9'; at++, digits++)
        found->number = found->number * 10 + (uint64_t)(line[at] - '0');
    if (digits == 0 || size != at + sizeof GET - 1 + 46 || memcmp(line + at, GET, sizeof GET - 1) != 0)
        return 0;
    at += sizeof GET - 1;
    return memcmp(line + at + 44, "\"}", 2) == 0 && from_base64(line + at, found->action);
}

/* A number in 20 places, spaces before it; -1 if it is anything else. */
static int64_t parse_number(const char *text)
{
    int at = 0;
    int64_t value = 0;

    while (at < 19 && text[at] == ' ')
        at++;
    if (at == 0)
        return -1; /* 20 digits would not fit */
    for (; at < 20; at++) {
        if (text[at] < '0' || text[at] > '9' || value > (INT64_MAX - 9) / 10)
            return -1;
        value = value * 10 + (text[at] - '0');
    }
    return value;
}

static void name_of(const struct serving *serving, const char *hex, char letter, char *path)
{
    memcpy(path, serving->root, serving->root_size);
    path += serving->root_size;
    *path++ = '/';
    memcpy(path, hex, 2);
    path[2] = '/';
    memcpy(path + 3, hex, 2 * ID);
    memcpy(path + 3 + 2 * ID, "-", 1);
    path[4 + 2 * ID] = letter;
    path[5 + 2 * ID] = 0;
}

static int64_t ns_of(const struct timespec *time)
{
    return time->tv_sec * BILLION + time->tv_nsec;
}

static int read_entry(const struct serving *serving, struct found *found, int64_t now_ns)
{
    char path[LONGEST + 80], data[ENTRY + 1];
    struct stat seen;
    ssize_t size;
    int fd, known;

    to_hex(found->action, found->action_hex);
    name_of(serving, found->action_hex, 'a', path);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT && serving->misses ? MISS : NOT_SURE;
    size = read(fd, data, sizeof data);
    known = fstat(fd, &seen);
    close(fd);
    if (size != ENTRY || known != 0 || now_ns - ns_of(&seen.st_mtim) >= HOUR_NS)
        return NOT_SURE;
    if (memcmp(data, "v1 ", 3) != 0 || memcmp(data + 3, found->action_hex, 2 * ID) != 0 || data[67] != ' ' ||
        data[132] != ' ' || data[153] != ' ' || data[174] != '\n' || !from_hex(data + 68, found->output))
        return NOT_SURE;
    memcpy(found->output_hex, data + 68, 2 * ID);
    found->size = parse_number(data + 133);
    found->time_ns = parse_number(data + 154);
    return found->size < 0 || found->time_ns < 0 ? NOT_SURE : HIT;
}

static uint32_t crc32_of(const unsigned char *data, size_t size)
{
    uint32_t sum = 0xffffffff;

    while (size--)
        sum = sum >> 8 ^ of_crc[(sum ^ *data++) & 0xff];
    return ~sum;
}

static uint64_t little(const unsigned char *data, int size)
{
    uint64_t value = 0;

    while (size--)
        value = value << 8 | data[size];
    return value;
}

/* Whether the table has a mark of this output that is whole, fits the file and does not name another action. */
static int is_marked(const struct serving *serving, const struct found *found, const struct stat *seen)
{
    unsigned char records[PLACES * RECORD];
    uint32_t number = (uint32_t)found->output[0] << 24 | (uint32_t)found->output[1] << 16 |
                      (uint32_t)found->output[2] << 8 | found->output[3];
    ssize_t size = pread(serving->table, records, sizeof records, (off_t)(number % BUCKETS) * PLACES * RECORD);

    for (ssize_t at = 0; at + RECORD <= size; at += RECORD) {
        const unsigned char *record = records + at;
        if (memcmp(record, found->output, ID) != 0)
            continue;
        if (crc32_of(record, RECORD - 4) != little(record + RECORD - 4, 4))
            return 0;
        if (little(record + 32, 8) != (uint64_t)seen->st_ino || little(record + 40, 8) != (uint64_t)seen->st_size ||
            little(record + 48, 8) != (uint64_t)ns_of(&seen->st_mtim) ||
            little(record + 56, 8) != (uint64_t)ns_of(&seen->st_ctim))
            return 0;
        return !record[79] || memcmp(record + 64, found->action, SEAL) == 0;
    }
    return 0;
}

static int find(const struct serving *serving, struct found *found)
{
    char path[LONGEST + 80];
    struct stat seen;
    struct timespec now;
    int outcome;

    clock_gettime(CLOCK_REALTIME, &now);
    outcome = read_entry(serving, found, ns_of(&now));
    if (outcome != HIT)
        return outcome;
    name_of(serving, found->output_hex, 'd', path);
    if (lstat(path, &seen) != 0 || !S_ISREG(seen.st_mode) || seen.st_size != found->size ||
        ns_of(&now) - ns_of(&seen.st_mtim) >= HOUR_NS)
        return NOT_SURE;
    if (found->size == 0)
        return memcmp(found->output_hex, EMPTY, sizeof found->output_hex) == 0 ? HIT : NOT_SURE;
    return serving->verify && !is_marked(serving, found, &seen) ? NOT_SURE : HIT;
}

/* The text of gocache.progproto.hit. */
static int write_hit(const struct serving *serving, const struct found *found, char *to, size_t room)
{
    int64_t seconds = found->time_ns / BILLION, days = seconds / 86400 + 719468, second = seconds % 86400;
    int64_t era = days / 146097, of_era = days % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), march = (5 * of_year + 2) / 153;
    int month = (int)(march < 10 ? march + 3 : march - 9), day = (int)(of_year - (153 * march + 2) / 5 + 1);
    char output[45] = {0};

    to_base64(found->output, output);
    return snprintf(to, room,
                    "{\"ID\":%" PRIu64 ",\"OutputID\":\"%s\",\"Size\":%" PRId64
                    ",\"Time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%09dZ\",\"DiskPath\":\"%.*s/%.2s/%.64s-d\"}\n",
                    found->number, output, found->size, (int)(year + era * 400 + (month <= 2)), month, day,
                    (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60), (int)(found->time_ns % BILLION),
                    (int)serving->shown_size, serving->shown, found->output_hex, found->output_hex);
}

static int flush(struct serving *serving)
{
    for (size_t done = 0; done < serving->out_size;) {
        ssize_t wrote = write(serving->outlet, serving->out + done, serving->out_size - done);
        if (wrote < 0 && errno != EINTR)
            return 0;
        done += wrote < 0 ? 0 : (size_t)wrote;
    }
    serving->out_size = 0;
    return 1;
}

static int note(struct serving *serving, const struct found *found, int outcome, const struct timespec *began)
{
    struct timespec now;

    if (!serving->logs)
        return 1;
    if (serving->log_room - serving->log_size < 256) {
        size_t room = serving->log_room ? 2 * serving->log_room : ROOM;
        char *log = realloc(serving->log, room);
        if (!log)
            return 0;
        serving->log = log;
        serving->log_room = room;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    serving->log_size += (size_t)snprintf(serving->log + serving->log_size, 256, "g %.64s %.*s %" PRId64 " %" PRId64 "\n",
                                          found->action_hex, outcome == HIT ? 64 : 1,
                                          outcome == HIT ? found->output_hex : "-", outcome == HIT ? found->size : 0,
                                          ns_of(&now) - ns_of(began));
    return 1;
}

/* Answer one line; 0 if Python has to. */
static int answer(struct serving *serving, const char *line, size_t size)
{
    struct found found;
    struct timespec began;
    int outcome, wrote;

    clock_gettime(CLOCK_MONOTONIC, &began);
    if (!parse_get(line, size, &found))
        return 0;
    outcome = find(serving, &found);
    if (outcome == NOT_SURE || (ROOM - serving->out_size < 2 * LONGEST && !flush(serving)))
        return 0;
    if (outcome == HIT)
        wrote = write_hit(serving, &found, serving->out + serving->out_size, ROOM - serving->out_size);
    else
        wrote = snprintf(serving->out + serving->out_size, ROOM - serving->out_size, "{\"ID\":%" PRIu64 ",\"Miss\":true}\n",
                         found.number);
    if (!note(serving, &found, outcome, &began))
        return 0;
    serving->out_size += (size_t)wrote;
    serving->gets++;
    serving->hits += outcome == HIT;
    serving->hit_size += outcome == HIT ? found.size : 0;
    return 1;
}

/* Answer what is in the buffer; 0 at the first line that Python has to answer, which is then at its beginning. */
static int answer_all(struct serving *serving)
{
    char *line = serving->in, *end = serving->in + serving->in_size, *newline;
    int sure = 1;

    while (sure && (newline = memchr(line, '\n', (size_t)(end - line)))) {
        sure = newline == line || answer(serving, line, (size_t)(newline - line));
        if (sure)
            line = newline + 1;
    }
    serving->in_size = (size_t)(end - line);
    memmove(serving->in, line, serving->in_size);
    return flush(serving) && sure && serving->in_size < ROOM / 2;
}

static void serve_all(struct serving *serving)
{
    while (answer_all(serving)) {
        ssize_t got = read(serving->inlet, serving->in + serving->in_size, ROOM - serving->in_size);
        if (got <= 0) {
            serving->over = got == 0 || errno != EINTR;
            return;
        }
        serving->in_size += (size_t)got;
    }
}

static PyObject *serve(PyObject *Py_UNUSED(module), PyObject *args)
{
    struct serving serving = {0};
    const char *root, *shown, *rest;
    Py_ssize_t root_size, shown_size, rest_size;
    PyObject *told = NULL;

    if (!PyArg_ParseTuple(args, "iiy#y#iiiiy#", &serving.inlet, &serving.outlet, &root, &root_size, &shown, &shown_size,
                          &serving.table, &serving.verify, &serving.misses, &serving.logs, &rest, &rest_size))
        return NULL;
    if (root_size > LONGEST - 80 || shown_size > LONGEST || rest_size > ROOM / 2 || memchr(root, 0, (size_t)root_size)) {
        PyErr_SetString(PyExc_ValueError, "a name or a rest is too long");
        return NULL;
    }
    serving.root = root;
    serving.shown = shown;
    serving.root_size = (size_t)root_size;
    serving.shown_size = (size_t)shown_size;
    serving.in = malloc(ROOM);
    serving.out = malloc(ROOM);
    if (serving.in && serving.out) {
        memcpy(serving.in, rest, (size_t)rest_size);
        serving.in_size = (size_t)rest_size;
        Py_BEGIN_ALLOW_THREADS
        serve_all(&serving);
        Py_END_ALLOW_THREADS
        told = Py_BuildValue("y#iLLLy#", serving.in, (Py_ssize_t)serving.in_size, serving.over, (long long)serving.gets,
                             (long long)serving.hits, (long long)serving.hit_size, serving.log ? serving.log : "",
                             (Py_ssize_t)serving.log_size);
    } else {
        PyErr_NoMemory();
    }
    free(serving.in);
    free(serving.out);
    free(serving.log);
    return told;
}

static PyMethodDef methods[] = {
    {"serve", serve, METH_VARARGS, "See serve_hits of hits.py."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_hits",
    .m_doc = "The compiled twin of what flows/cacheprog.py does with sure hits.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__hits(void)
{
    fill_tables();
    return PyModuleDef_Init(&module);
}

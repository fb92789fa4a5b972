/* SHA-256 of several messages at once: the compiled twin of `digests_python` in digests.py.
 *
 * Knows:     FIPS 180-4, and how two messages share the SHA instructions of a processor, or sixteen its 512 bit registers.
 * Called by: digests.py, if a compiler was there when this package was installed and the processor has these instructions.
 * Never:     reads a byte outside of a message or of the padding behind it; keeps anything between two calls.
 *
 * One message cannot use a processor up: each round waits for the one before. So messages that do not depend on each other are
 * hashed side by side, in lanes. The longest come first, so that all lanes end at about the same time.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64, WORDS = 8, DIGEST = 32, LENGTH_AT = 56 };
enum { NOTHING = 0, PAIRS = 1, SIXTEEN = 2 };

/* What a message still lacks: blocks of its own first, then one or two of padding. */
struct lane {
    uint32_t state[WORDS];
    const uint8_t *at;
    size_t blocks;
    size_t padded; /* blocks in `padding` that are still to come */
    uint8_t *digest;
    uint8_t padding[2 * BLOCK];
};

struct message {
    const uint8_t *at;
    size_t length;
    uint8_t *digest;
};

/* Messages in the order in which they are taken. */
struct queue {
    const struct message *next;
    const struct message *end;
};

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <cpuid.h>
#include <immintrin.h>

enum { LANES = 16, ENOUGH = 11 }; /* with fewer lanes than ENOUGH two at a time are faster */

#define WITH_SHA __attribute__((target("sha,sse4.1,ssse3")))
#define WITH_512 __attribute__((target("avx512f,avx512bw")))
#define INLINE static inline __attribute__((always_inline))

static const uint32_t FIRST[WORDS] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t ROUND[64] __attribute__((aligned(64))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* ---------------------------------------------------------------- lanes */

/* Put a message into a lane; nothing of it is hashed yet. */
static void begin(struct lane *lane, const struct message *message)
{
    size_t rest = message->length % BLOCK;
    uint64_t bits = (uint64_t)message->length << 3;

    memcpy(lane->state, FIRST, sizeof FIRST);
    lane->at = message->at;
    lane->blocks = message->length / BLOCK;
    lane->padded = rest < LENGTH_AT ? 1 : 2;
    lane->digest = message->digest;
    memset(lane->padding, 0, sizeof lane->padding);
    if (rest)
        memcpy(lane->padding, message->at + (message->length - rest), rest);
    lane->padding[rest] = 0x80;
    for (size_t at = 0; at < 8; at++)
        lane->padding[lane->padded * BLOCK - 1 - at] = (uint8_t)(bits >> (8 * at));
}

/* Make sure that a lane has blocks to hash. False when it has no more, which is the end of its message. */
static int goes_on(struct lane *lane)
{
    if (lane->blocks == 0) {
        lane->at = lane->padding;
        lane->blocks = lane->padded;
        lane->padded = 0;
    }
    return lane->blocks != 0;
}

static void finish(const struct lane *lane)
{
    for (size_t word = 0; word < WORDS; word++) {
        uint32_t value = __builtin_bswap32(lane->state[word]);
        memcpy(lane->digest + 4 * word, &value, sizeof value);
    }
}

/* ---------------------------------------------------------------- one or two lanes */

WITH_SHA INLINE __m128i four_words(const uint8_t *at)
{
    const __m128i turned = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)at), turned);
}

/* Hash `blocks` blocks of each of `count` lanes; `count` is known when this is compiled. */
WITH_SHA INLINE void hash_side_by_side(struct lane *const *lanes, const int count, size_t blocks)
{
    __m128i abef[2], cdgh[2], abef_before[2], cdgh_before[2], words[2][4], keyed[2];

    for (int l = 0; l < count; l++) {
        __m128i abcd = _mm_loadu_si128((const __m128i *)(const void *)lanes[l]->state);
        __m128i efgh = _mm_loadu_si128((const __m128i *)(const void *)(lanes[l]->state + 4));
        abcd = _mm_shuffle_epi32(abcd, 0xB1);
        efgh = _mm_shuffle_epi32(efgh, 0x1B);
        abef[l] = _mm_alignr_epi8(abcd, efgh, 8);
        cdgh[l] = _mm_blend_epi16(efgh, abcd, 0xF0);
    }
    for (size_t block = 0; block < blocks; block++) {
        for (int l = 0; l < count; l++) {
            abef_before[l] = abef[l];
            cdgh_before[l] = cdgh[l];
            for (int four = 0; four < 4; four++)
                words[l][four] = four_words(lanes[l]->at + block * BLOCK + (size_t)four * 16);
        }
#pragma GCC unroll 16
        for (int four = 0; four < 16; four++) {
            const __m128i keys = _mm_load_si128((const __m128i *)(const void *)(ROUND + 4 * four));
#pragma GCC unroll 2
            for (int l = 0; l < count; l++) {
                keyed[l] = _mm_add_epi32(words[l][four & 3], keys);
                cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], keyed[l]);
            }
#pragma GCC unroll 2
            for (int l = 0; l < count; l++) {
                __m128i *const w = words[l];
                if (four < 12) { /* the words of four rounds that come sixteen rounds later */
                    __m128i sum = _mm_sha256msg1_epu32(w[four & 3], w[(four + 1) & 3]);
                    sum = _mm_add_epi32(sum, _mm_alignr_epi8(w[(four + 3) & 3], w[(four + 2) & 3], 4));
                    w[four & 3] = _mm_sha256msg2_epu32(sum, w[(four + 3) & 3]);
                }
                abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], _mm_shuffle_epi32(keyed[l], 0x0E));
            }
        }
        for (int l = 0; l < count; l++) {
            abef[l] = _mm_add_epi32(abef[l], abef_before[l]);
            cdgh[l] = _mm_add_epi32(cdgh[l], cdgh_before[l]);
        }
    }
    for (int l = 0; l < count; l++) {
        __m128i feba = _mm_shuffle_epi32(abef[l], 0x1B);
        __m128i dchg = _mm_shuffle_epi32(cdgh[l], 0xB1);
        _mm_storeu_si128((__m128i *)(void *)lanes[l]->state, _mm_blend_epi16(feba, dchg, 0xF0));
        _mm_storeu_si128((__m128i *)(void *)(lanes[l]->state + 4), _mm_alignr_epi8(dchg, feba, 8));
        lanes[l]->at += blocks * BLOCK;
        lanes[l]->blocks -= blocks;
    }
}

WITH_SHA static void hash_one(struct lane *one, size_t blocks)
{
    struct lane *const lanes[1] = {one};
    hash_side_by_side(lanes, 1, blocks);
}

WITH_SHA static void hash_two(struct lane *one, struct lane *other, size_t blocks)
{
    struct lane *const lanes[2] = {one, other};
    hash_side_by_side(lanes, 2, blocks);
}

/* The next lane that is not finished: of those that were begun, then of the queue. NULL: there is none. */
static struct lane *take(struct lane *const *begun, size_t *count, struct queue *queue, struct lane *room)
{
    if (*count)
        return begun[--*count];
    if (queue->next == queue->end)
        return NULL;
    begin(room, queue->next++);
    return room;
}

/* Hash what is left, two at a time. */
static void hash_pairs(struct lane *const *begun, size_t count, struct queue *queue)
{
    struct lane room[2];
    struct lane *lanes[2];

    for (int l = 0; l < 2; l++)
        lanes[l] = take(begun, &count, queue, &room[l]);
    while (lanes[0] || lanes[1]) {
        for (int l = 0; l < 2; l++) {
            if (lanes[l] && !goes_on(lanes[l])) {
                finish(lanes[l]);
                lanes[l] = take(begun, &count, queue, &room[l]);
                l--; /* a message may be empty, but its padding is not: this ends */
            }
        }
        if (lanes[0] && lanes[1])
            hash_two(lanes[0], lanes[1], Py_MIN(lanes[0]->blocks, lanes[1]->blocks));
        else if (lanes[0] || lanes[1])
            hash_one(lanes[0] ? lanes[0] : lanes[1], (lanes[0] ? lanes[0] : lanes[1])->blocks);
    }
}

/* ---------------------------------------------------------------- sixteen lanes */

/* Rows become columns. */
WITH_512 INLINE void transpose(__m512i rows[LANES])
{
    __m512i t[LANES];

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        rows[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        rows[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        rows[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        rows[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xDD);
        t[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xDD);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        rows[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xDD);
        rows[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        rows[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xDD);
    }
}

#define ADD _mm512_add_epi32
#define TURN _mm512_ror_epi32
#define XOR3(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0x96)
#define CHOOSE(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xCA)
#define MAJORITY(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xE8)

/* Hash `blocks` blocks of sixteen lanes. `state` holds word after word, each of all lanes. */
WITH_512 static void hash_sixteen(uint32_t state[WORDS][LANES], const uint8_t *const at[LANES], size_t blocks)
{
    const __m512i turned = _mm512_set4_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
    __m512i before[WORDS], v[WORDS], w[16];

#pragma GCC unroll 8
    for (int i = 0; i < WORDS; i++)
        v[i] = _mm512_loadu_si512(state[i]);
    for (size_t offset = 0; offset < blocks * BLOCK; offset += BLOCK) {
#pragma GCC unroll 16
        for (int lane = 0; lane < LANES; lane++)
            w[lane] = _mm512_loadu_si512(at[lane] + offset);
        transpose(w);
#pragma GCC unroll 8
        for (int i = 0; i < WORDS; i++)
            before[i] = v[i];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            w[i] = _mm512_shuffle_epi8(w[i], turned);
        for (int sixteen = 0; sixteen < 64; sixteen += 16) {
            if (sixteen) {
#pragma GCC unroll 16
                for (int i = 0; i < 16; i++) {
                    const __m512i x = w[(i + 1) & 15], y = w[(i + 14) & 15];
                    const __m512i s0 = XOR3(TURN(x, 7), TURN(x, 18), _mm512_srli_epi32(x, 3));
                    const __m512i s1 = XOR3(TURN(y, 17), TURN(y, 19), _mm512_srli_epi32(y, 10));
                    w[i] = ADD(ADD(w[i], w[(i + 9) & 15]), ADD(s0, s1));
                }
            }
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) { /* v[-i & 7] is a, v[(1 - i) & 7] is b, and so on */
                const __m512i a = v[-i & 7], e = v[(4 - i) & 7];
                const __m512i s1 = XOR3(TURN(e, 6), TURN(e, 11), TURN(e, 25));
                const __m512i s0 = XOR3(TURN(a, 2), TURN(a, 13), TURN(a, 22));
                const __m512i key = ADD(w[i], _mm512_set1_epi32((int)ROUND[sixteen + i]));
                const __m512i chosen = CHOOSE(e, v[(5 - i) & 7], v[(6 - i) & 7]);
                const __m512i sum = ADD(ADD(v[(7 - i) & 7], key), ADD(s1, chosen));
                v[(3 - i) & 7] = ADD(v[(3 - i) & 7], sum);
                v[(7 - i) & 7] = ADD(sum, ADD(s0, MAJORITY(a, v[(1 - i) & 7], v[(2 - i) & 7])));
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < WORDS; i++)
            v[i] = ADD(v[i], before[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < WORDS; i++)
        _mm512_storeu_si512(state[i], v[i]);
}

static void load_state(struct lane *lane, uint32_t state[WORDS][LANES], size_t column)
{
    for (size_t word = 0; word < WORDS; word++)
        lane->state[word] = state[word][column];
}

static void store_state(const struct lane *lane, uint32_t state[WORDS][LANES], size_t column)
{
    for (size_t word = 0; word < WORDS; word++)
        state[word][column] = lane->state[word];
}

/* Hash sixteen at a time, for as long as there are enough. Returns how many lanes are left that were begun: the first ones. */
static size_t hash_many(struct lane *lanes[LANES], struct queue *queue)
{
    uint32_t state[WORDS][LANES];
    const uint8_t *at[LANES];
    size_t count = 0;

    memset(state, 0, sizeof state);
    for (; count < LANES && queue->next != queue->end; count++) {
        begin(lanes[count], queue->next++);
        goes_on(lanes[count]);
        store_state(lanes[count], state, count);
    }
    while (count >= ENOUGH) {
        size_t blocks = lanes[0]->blocks;
        for (size_t l = 1; l < count; l++)
            blocks = Py_MIN(blocks, lanes[l]->blocks);
        for (size_t l = 0; l < LANES; l++) /* a lane that is not used hashes what the first one does, for nobody */
            at[l] = lanes[l < count ? l : 0]->at;
        hash_sixteen(state, at, blocks);
        for (size_t l = 0; l < count; l++) {
            lanes[l]->at += blocks * BLOCK;
            lanes[l]->blocks -= blocks;
        }
        for (size_t l = 0; l < count;) {
            struct lane *const lane = lanes[l];
            if (goes_on(lane)) {
                l++;
                continue;
            }
            load_state(lane, state, l);
            finish(lane);
            if (queue->next != queue->end) {
                begin(lane, queue->next++);
            } else { /* the last one changes its place with this one, which may be the same */
                count--;
                load_state(lanes[count], state, count);
                lanes[l] = lanes[count];
                lanes[count] = lane;
            }
            store_state(lanes[l], state, l);
        }
    }
    for (size_t l = 0; l < count; l++)
        load_state(lanes[l], state, l);
    return count;
}

/* ---------------------------------------------------------------- which of them */

static int kernels(void)
{
    unsigned a, b, c, d;

    __builtin_cpu_init();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 29)) || !__builtin_cpu_supports("sse4.1"))
        return NOTHING;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") ? SIXTEEN : PAIRS;
}

static void hash_all(struct queue *queue, int kernel)
{
    struct lane room[LANES];
    struct lane *lanes[LANES];

    for (size_t l = 0; l < LANES; l++)
        lanes[l] = &room[l];
    hash_pairs(lanes, kernel == SIXTEEN && queue->end - queue->next >= ENOUGH ? hash_many(lanes, queue) : 0, queue);
}

#else

static int kernels(void)
{
    return NOTHING;
}

static void hash_all(struct queue *queue, int kernel)
{
    (void)queue;
    (void)kernel;
}

#endif

/* ---------------------------------------------------------------- Python */

static int is_longer(const void *one, const void *other)
{
    size_t first = ((const struct message *)one)->length, second = ((const struct message *)other)->length;
    return first < second ? 1 : first > second ? -1 : 0;
}

/* Hash what `views` show. NULL: there is no memory. */
static PyObject *hash_views(const Py_buffer *views, Py_ssize_t count, int kernel)
{
    struct message *messages = PyMem_Calloc((size_t)count + 1, sizeof *messages);
    uint8_t *digests = PyMem_Malloc(((size_t)count + 1) * DIGEST);
    PyObject *found = messages && digests ? PyList_New(count) : PyErr_NoMemory();
    struct queue queue = {messages, messages + count};

    if (found) {
        for (Py_ssize_t at = 0; at < count; at++)
            messages[at] = (struct message){views[at].buf, (size_t)views[at].len, digests + at * DIGEST};
        Py_BEGIN_ALLOW_THREADS
        qsort(messages, (size_t)count, sizeof *messages, is_longer);
        hash_all(&queue, kernel);
        Py_END_ALLOW_THREADS
        for (Py_ssize_t at = 0; at < count; at++) {
            PyObject *digest = PyBytes_FromStringAndSize((const char *)digests + at * DIGEST, DIGEST);
            if (!digest || PyList_SetItem(found, at, digest) < 0) {
                Py_CLEAR(found);
                break;
            }
        }
    }
    PyMem_Free(digests);
    PyMem_Free(messages);
    return found;
}

static PyObject *many(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *pieces, *found = NULL;
    Py_ssize_t count, taken = 0;
    Py_buffer *views;
    int kernel;

    if (!PyArg_ParseTuple(args, "Oi", &pieces, &kernel))
        return NULL;
    if (!PyTuple_Check(pieces) || kernel <= NOTHING || kernel > kernels()) {
        PyErr_SetString(PyExc_ValueError, "a tuple is needed, and a kernel that this processor has");
        return NULL;
    }
    count = PyTuple_Size(pieces);
    views = PyMem_Calloc((size_t)count + 1, sizeof *views);
    if (!views)
        return PyErr_NoMemory();
    while (taken < count && PyObject_GetBuffer(PyTuple_GetItem(pieces, taken), &views[taken], PyBUF_SIMPLE) == 0)
        taken++;
    if (taken == count)
        found = hash_views(views, count, kernel);
    while (taken)
        PyBuffer_Release(&views[--taken]);
    PyMem_Free(views);
    return found;
}

static PyObject *which(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing))
{
    return PyLong_FromLong(kernels());
}

static PyMethodDef methods[] = {
    {"kernels", which, METH_NOARGS, "0: this processor has none; 1: messages in pairs; 2: also sixteen at a time."},
    {"many", many, METH_VARARGS, "SHA-256 of each of some buffers, by one of these kernels."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_digests",
    .m_doc = "The compiled twin of digests_python in digests.py.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__digests(void)
{
    return PyModuleDef_Init(&module);
}

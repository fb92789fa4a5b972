/* How far a buffer holds nothing but harmless requests: the compiled twin of `scan_python` in fast.py.
 *
 * Knows:     the canonical form of a request, and what a dictionary says of its name and of its number of words.
 * Called by: _lane.c.
 * Never:     reads a byte that was not compared with the end first; recurses; keeps a pointer to a buffer between two scans.
 *
 * The bytes come from whoever may connect. `struct input` is the only way to them: `at` never passes `end`.
 */

#ifndef SCAN_H
#define SCAN_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <string.h>

enum { MOST_DIGITS = 10, KNOWN = 8, MOST_FORMS = 8, KEPT = 5 };

struct input {
    const char *at;
    const char *end;
};

struct text {
    const char *at;
    Py_ssize_t length;
};

/* Some calls of a command: as `Words` in fast.py. */
struct form {
    long long least, most, above;
    int keyed, time_at;
    struct text option; /* belongs to the dictionary, which nobody changes meanwhile */
};

/* All that is known of a name. */
struct name {
    PyObject *key;    /* owned: bytes; NULL if nothing is known */
    struct text text; /* what it holds */
    Py_ssize_t count;
    struct form forms[MOST_FORMS];
};

struct scanner {
    struct input input;
    long long most_arguments, most_argument_bytes, most_request_bytes;
    PyObject *calls; /* owned: a dict from names to tuples of `Words` */
    PyObject *keys;  /* owned: a list; NULL before there is a key */
    int plain;
    struct name known[KNOWN]; /* what was looked up before */
};

enum outcome { FAILED = -1, STOP = 0, HARMLESS = 1 };

/* Read `*N` or `$N` with its CR LF. False leaves `in` somewhere inside of the buffer. */
static int read_length(struct input *in, char mark, long long *length)
{
    long long value = 0;
    int digits = 0;

    if (in->at == in->end || *in->at != mark)
        return 0;
    in->at++;
    while (in->at != in->end && *in->at >= '0' && *in->at <= '9') {
        if (digits == MOST_DIGITS || (digits > 0 && value == 0))
            return 0;
        value = 10 * value + (*in->at - '0');
        digits++;
        in->at++;
    }
    if (digits == 0 || in->end - in->at < 2 || in->at[0] != '\r' || in->at[1] != '\n')
        return 0;
    in->at += 2;
    *length = value;
    return 1;
}

/* Read `$N`, N bytes and CR LF. */
static int read_bulk(struct input *in, struct text *text)
{
    long long length;

    if (!read_length(in, '$', &length) || in->end - in->at < 2 || length > in->end - in->at - 2)
        return 0;
    *text = (struct text){in->at, (Py_ssize_t)length};
    in->at += length;
    if (in->at[0] != '\r' || in->at[1] != '\n')
        return 0;
    in->at += 2;
    return 1;
}

static int is_same(struct text one, struct text other)
{
    return one.length == other.length && (one.length == 0 || memcmp(one.at, other.at, (size_t)one.length) == 0);
}

/* Take one of the `Words` apart. */
static int read_form(PyObject *words, struct form *form)
{
    char *option;

    if (!PyTuple_Check(words) || PyTuple_Size(words) != 6) {
        PyErr_SetString(PyExc_TypeError, "a form is (least, most, keyed, time_at, above, option)");
        return 0;
    }
    form->least = PyLong_AsLongLong(PyTuple_GetItem(words, 0));
    form->most = PyLong_AsLongLong(PyTuple_GetItem(words, 1));
    form->keyed = PyObject_IsTrue(PyTuple_GetItem(words, 2));
    form->time_at = (int)PyLong_AsLong(PyTuple_GetItem(words, 3));
    form->above = PyLong_AsLongLong(PyTuple_GetItem(words, 4));
    if (PyErr_Occurred() || PyBytes_AsStringAndSize(PyTuple_GetItem(words, 5), &option, &form->option.length) < 0)
        return 0;
    form->option.at = option;
    if (form->time_at < 0 || form->time_at >= KEPT || (form->time_at > 0 && form->least <= form->time_at)) {
        PyErr_SetString(PyExc_ValueError, "a form whose time is not among its first words");
        return 0;
    }
    return 1;
}

static int read_forms(PyObject *forms, struct name *name)
{
    Py_ssize_t count;

    if (!PyTuple_Check(forms) || PyTuple_Size(forms) > MOST_FORMS) {
        PyErr_SetString(PyExc_TypeError, "calls: from bytes to a tuple of a few forms");
        return 0;
    }
    count = PyTuple_Size(forms);
    for (name->count = 0; name->count < count; name->count++)
        if (!read_form(PyTuple_GetItem(forms, name->count), &name->forms[name->count]))
            return 0;
    return 1;
}

static void forget(struct name *slot)
{
    slot->text = (struct text){NULL, 0};
    Py_CLEAR(slot->key);
}

/* Find what is known of a name. Most clients use few names, so each is looked up once. */
static enum outcome find_name(struct scanner *self, struct text text, struct name **found)
{
    struct name *slot;
    PyObject *forms;

    if (text.length == 0)
        return STOP;
    slot = &self->known[((unsigned char)text.at[0] + (size_t)text.length) % KNOWN];
    *found = slot;
    if (is_same(slot->text, text))
        return HARMLESS;
    forget(slot);
    slot->key = PyBytes_FromStringAndSize(text.at, text.length);
    if (slot->key == NULL)
        return FAILED;
    forms = PyDict_GetItemWithError(self->calls, slot->key);
    if (forms == NULL)
        return PyErr_Occurred() ? FAILED : STOP;
    if (!read_forms(forms, slot))
        return FAILED;
    slot->text = (struct text){PyBytes_AsString(slot->key), text.length};
    return HARMLESS;
}

static int is_wild(struct text key)
{
    for (Py_ssize_t at = 0; at < key.length; at++)
        if (key.at[at] == '*' || key.at[at] == '?' || key.at[at] == '[' || key.at[at] == '\\')
            return 1;
    return 0;
}

/* Whether a word is a plain decimal number that is large enough. */
static int is_above(struct text word, long long above)
{
    long long value = 0;

    if (word.length < 1 || word.length > MOST_DIGITS || word.at[0] == '0')
        return 0;
    for (Py_ssize_t at = 0; at < word.length; at++) {
        if (word.at[at] < '0' || word.at[at] > '9')
            return 0;
        value = 10 * value + (word.at[at] - '0');
    }
    return value > above;
}

/* Whether a call of `count` words, the first of which are kept, is of a form. */
static int is_of(const struct form *form, long long count, const struct text kept[KEPT])
{
    if (count < form->least || count > form->most)
        return 0;
    if (form->time_at == 0)
        return 1;
    if (form->option.length > 0 && !is_same(kept[form->time_at - 1], form->option))
        return 0;
    return is_above(kept[form->time_at], form->above);
}

static enum outcome add_key(struct scanner *self, struct text text)
{
    PyObject *key;
    int added;

    if (self->keys == NULL && (self->keys = PyList_New(0)) == NULL)
        return FAILED;
    key = PyBytes_FromStringAndSize(text.at, text.length);
    if (key == NULL)
        return FAILED;
    added = PyList_Append(self->keys, key);
    Py_DECREF(key);
    return added < 0 ? FAILED : HARMLESS;
}

/* Read one request. Only after HARMLESS does `input.at` mean anything. */
static enum outcome read_frame(struct scanner *self)
{
    struct input *in = &self->input;
    struct text kept[KEPT] = {{NULL, 0}}, text;
    long long count, total = 0;
    struct name *name = NULL;
    enum outcome outcome;

    if (!read_length(in, '*', &count) || count == 0 || count > self->most_arguments)
        return STOP;
    for (long long word = 0; word < count; word++) {
        if (!read_bulk(in, &text))
            return STOP;
        total += text.length; /* at most the size of the buffer */
        if (text.length > self->most_argument_bytes || total > self->most_request_bytes)
            return STOP;
        if (word < KEPT)
            kept[word] = text;
        if (word == 0 && (outcome = find_name(self, text, &name)) != HARMLESS)
            return outcome;
    }
    for (Py_ssize_t at = 0; at < name->count; at++) {
        const struct form *form = &name->forms[at];

        if (is_of(form, count, kept))
            return form->keyed && count > 1 && (!self->plain || is_wild(kept[1])) ? add_key(self, kept[1]) : HARMLESS;
    }
    return STOP;
}

/* Where the first request begins that is not harmless; -1 with an exception set. Leaves the keys that were found in `self->keys`. */
static Py_ssize_t scan_all(struct scanner *self, struct text data, Py_ssize_t start)
{
    const char *done = data.at + start;

    Py_CLEAR(self->keys);
    self->input = (struct input){done, data.at + data.length};
    for (;;) {
        enum outcome outcome = read_frame(self);

        if (outcome == FAILED)
            return -1;
        if (outcome == STOP)
            return done - data.at;
        done = self->input.at;
    }
}

#endif

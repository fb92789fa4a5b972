/* How everything in a directory looks, by one call: the compiled twin of `look_of` in snapshot/capture.py.
 *
 * Knows:     how names and numbers are written one after the other, and which names are usual.
 * Called by: looks.py, if a compiler was there when this package was installed.
 * Never:     opens a file, follows a link, or closes or moves the descriptor that it was given; keeps anything between two calls.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NUMBERS = 5, FEW = 256 };
static const int64_t BILLION = 1000000000, MOST_SECONDS = 9000000000;

enum outcome { FAILED = -1, UNUSUAL = 0, DONE = 1 };

/* What was found. `text` holds the names, each with its NUL; `at` where they begin. */
struct listing {
    char *text;
    size_t text_used, text_room;
    size_t *at;
    size_t count, at_room;
    const char **names; /* sorted */
    unsigned char *look;
    size_t look_size;
};

static void forget(struct listing *list)
{
    free(list->text);
    free(list->at);
    free(list->names);
    free(list->look);
}

/* Names that Python would write as the very same bytes, and in the same order. */
static int is_usual(const char *name)
{
    for (const unsigned char *at = (const unsigned char *)name; *at; at++)
        if (*at < 0x20 || *at > 0x7e)
            return 0;
    return 1;
}

static int keep(struct listing *list, const char *name)
{
    size_t size = strlen(name) + 1;

    while (list->text_room - list->text_used < size) {
        size_t room = list->text_room ? 2 * list->text_room : FEW * 80;
        char *text = realloc(list->text, room);
        if (!text)
            return 0;
        list->text = text;
        list->text_room = room;
    }
    if (list->count == list->at_room) {
        size_t room = list->at_room ? 2 * list->at_room : FEW;
        size_t *at = realloc(list->at, room * sizeof *at);
        if (!at)
            return 0;
        list->at = at;
        list->at_room = room;
    }
    memcpy(list->text + list->text_used, name, size);
    list->at[list->count++] = list->text_used;
    list->text_used += size;
    return 1;
}

static enum outcome list_names(DIR *folder, struct listing *list)
{
    const struct dirent *found;

    for (;;) {
        errno = 0;
        found = readdir(folder);
        if (!found)
            return errno ? FAILED : DONE;
        if (!strcmp(found->d_name, ".") || !strcmp(found->d_name, ".."))
            continue;
        if (!is_usual(found->d_name))
            return UNUSUAL;
        if (!keep(list, found->d_name))
            return FAILED;
    }
}

static int compare(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

/* Size, mode, both times in nanoseconds, and inode. False: a time that no 64 bits hold. */
static int write_numbers(unsigned char *to, const struct stat *found)
{
    const struct timespec *times[] = {&found->st_mtim, &found->st_ctim};
    int64_t numbers[NUMBERS] = {
        (int64_t)found->st_size, (int64_t)found->st_mode, 0, 0, (int64_t)((uint64_t)found->st_ino & INT64_MAX),
    };

    for (size_t which = 0; which < 2; which++) {
        int64_t seconds = (int64_t)times[which]->tv_sec;
        if (seconds > MOST_SECONDS || seconds < -MOST_SECONDS)
            return 0;
        numbers[2 + which] = seconds * BILLION + (int64_t)times[which]->tv_nsec;
    }
    memcpy(to, numbers, sizeof numbers);
    return 1;
}

/* Names with a line break between two of them, a NUL, the numbers of each. */
static enum outcome write_look(int fd, struct listing *list)
{
    size_t numbers = NUMBERS * sizeof(int64_t), names = list->count ? list->text_used : 1;
    unsigned char *to;

    list->names = malloc((list->count + 1) * sizeof *list->names);
    list->look_size = names + list->count * numbers;
    list->look = malloc(list->look_size);
    if (!list->names || !list->look)
        return FAILED;
    for (size_t at = 0; at < list->count; at++)
        list->names[at] = list->text + list->at[at];
    qsort(list->names, list->count, sizeof *list->names, compare);
    to = list->look;
    for (size_t at = 0; at < list->count; at++) {
        size_t size = strlen(list->names[at]);
        memcpy(to, list->names[at], size);
        to[size] = '\n';
        to += size + 1;
    }
    list->look[names - 1] = '\0'; /* in the place of the last line break, if there is one */
    to = list->look + names;
    for (size_t at = 0; at < list->count; at++, to += numbers) {
        struct stat found;
        if (fstatat(fd, list->names[at], &found, AT_SYMLINK_NOFOLLOW) != 0)
            return FAILED;
        if (!write_numbers(to, &found))
            return UNUSUAL;
    }
    return DONE;
}

static enum outcome look_at(int fd, struct listing *list)
{
    enum outcome outcome;
    DIR *folder;
    /* Its own place in the directory, and its own descriptor: closedir closes it. */
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (own < 0)
        return FAILED;
    folder = fdopendir(own);
    if (!folder) {
        close(own);
        return FAILED;
    }
    outcome = list_names(folder, list);
    if (outcome == DONE)
        outcome = write_look(fd, list);
    if (outcome == FAILED && errno == 0)
        errno = ENOMEM;
    {
        int number = errno;
        closedir(folder);
        errno = number;
    }
    return outcome;
}

static PyObject *look(PyObject *Py_UNUSED(module), PyObject *args)
{
    struct listing list = {0};
    enum outcome outcome;
    PyObject *found = NULL;
    int fd;

    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    outcome = look_at(fd, &list);
    Py_END_ALLOW_THREADS
    if (outcome == FAILED)
        PyErr_SetFromErrno(PyExc_OSError);
    else if (outcome == UNUSUAL)
        found = Py_NewRef(Py_None);
    else
        found = PyBytes_FromStringAndSize((const char *)list.look, (Py_ssize_t)list.look_size);
    forget(&list);
    return found;
}

static PyMethodDef methods[] = {
    {"look", look, METH_VARARGS, "See look_at of looks.py."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_looks",
    .m_doc = "The compiled twin of look_of in snapshot/capture.py.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__looks(void)
{
    return PyModuleDef_Init(&module);
}

/* Which stream of the mock writes next.
 *
 * A paced stream is in a heap, the one that is due first on top. Back-to-back streams are in a
 * ring, where each gets one write per round. A stream is in at most one of the two.
 */
#include <stdint.h>
#include <stdlib.h>

/* A stream's place. The first member of the stream's own struct, so that a pointer to one is a
 * pointer to the other. */
struct place {
    uint64_t due_us;  /* of the next write, while in the heap */
    int heap_index;   /* -1: not in the heap */
    int in_ring;
    struct place *next;
    struct place *previous;
};

static struct place **heap;
static int heap_size;
static int heap_room;

static void heap_put(int index, struct place *place) {
    heap[index] = place;
    place->heap_index = index;
}

static void heap_sift_up(int index) {
    struct place *place = heap[index];
    while (index > 0) {
        int parent = (index - 1) / 2;
        if (heap[parent]->due_us <= place->due_us)
            break;
        heap_put(index, heap[parent]);
        index = parent;
    }
    heap_put(index, place);
}

static void heap_sift_down(int index) {
    struct place *place = heap[index];
    for (;;) {
        int child = 2 * index + 1;
        if (child >= heap_size)
            break;
        if (child + 1 < heap_size && heap[child + 1]->due_us < heap[child]->due_us)
            child++;
        if (heap[child]->due_us >= place->due_us)
            break;
        heap_put(index, heap[child]);
        index = child;
    }
    heap_put(index, place);
}

static void heap_add(struct place *place) {
    if (heap_size == heap_room) {
        heap_room = heap_room ? heap_room * 2 : 1024;
        heap = realloc(heap, (size_t)heap_room * sizeof *heap);
    }
    heap_put(heap_size, place);
    heap_sift_up(heap_size++);
}

static void heap_remove(struct place *place) {
    int index = place->heap_index;
    if (index < 0)
        return;
    place->heap_index = -1;
    struct place *last = heap[--heap_size];
    if (last == place)
        return;
    heap_put(index, last);
    heap_sift_up(index);
    heap_sift_down(last->heap_index);
}

static struct place ring = {.next = &ring, .previous = &ring};

static void ring_add(struct place *place) {
    if (place->in_ring)
        return;
    place->in_ring = 1;
    place->next = &ring;
    place->previous = ring.previous;
    ring.previous->next = place;
    ring.previous = place;
}

static void ring_remove(struct place *place) {
    if (!place->in_ring)
        return;
    place->in_ring = 0;
    place->previous->next = place->next;
    place->next->previous = place->previous;
}

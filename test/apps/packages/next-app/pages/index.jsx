// The only page; rendered for each request.
export default function Home({ pid }) {
  return <p>next {pid}</p>;
}

export function getServerSideProps() {
  return { props: { pid: process.pid } };
}
